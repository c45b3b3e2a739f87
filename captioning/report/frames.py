"""Attention to the frames of a clip: a row of frames for each word, as bright as the word's weights.

Dimensions: T words, L frames.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from captioning.core.ownership import output

WIDTH, HEIGHT = 0.9, 0.98  # of a drawn frame in inches, with the distance to the next one
NAMES = 1.2  # the width of the words in inches
DARK = 0.15  # the fraction of a frame's brightness at a weight of 0


def draw_frames(frames: Sequence[Image.Image], text: str, attention: NDArray[np.float32], path: Path) -> None:
    """Draw a clip's frames, and below them once more for each word of the caption, darkened where the weight is small.

    The largest weight of a word leaves its frame as it is. Each weight stands below its frame, in percent.

    Args:
        frames: the L frames, RGB, in the order in which the captioner was given them.
        text: the T words of the caption, separated by blanks.
        attention: ``(T, L)``, the attention weights of each word.
        path: the PNG to write.

    Raises:
        ValueError: the numbers of words, frames and weights differ.
    """
    words = text.split()
    if attention.shape != (len(words), len(frames)):
        raise ValueError(f"weights {attention.shape} of {len(words)} words and {len(frames)} frames")
    figure = Figure(figsize=(NAMES + WIDTH * len(frames), HEIGHT * (1 + len(words))))
    grid = figure.subplots(1 + len(words), len(frames), squeeze=False)
    figure.subplots_adjust(
        left=NAMES / figure.get_figwidth(), right=0.995, top=0.995, bottom=0.02, hspace=0.15, wspace=0.04
    )
    pictures = [np.asarray(frame, dtype=np.float32) / 255 for frame in frames]
    for row, axes in enumerate(grid):
        weights = None if row == 0 else attention[row - 1]
        for place, (axis, picture) in enumerate(zip(axes, pictures, strict=True)):
            axis.axis("off")
            light = 1.0 if weights is None else DARK + (1 - DARK) * float(weights[place] / weights.max())
            axis.imshow(light * picture, vmin=0, vmax=1)
            if weights is not None:
                below = {"transform": axis.transAxes, "ha": "center", "va": "top", "fontsize": 7}
                axis.text(0.5, -0.02, f"{100 * weights[place]:.0f}", **below)
        if row:
            label = {"transform": axes[0].transAxes, "ha": "right", "va": "center", "parse_math": False}
            axes[0].text(-0.1, 0.5, words[row - 1], **label)
    with output(path, "wb") as file:
        figure.savefig(file, format="png", dpi=100)
