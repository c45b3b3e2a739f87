"""Attention maps: the photograph once per word, overlaid with the captioner's attention weights.

The weight of a visual sentinel is a bar below the word's picture: full where the captioner did not look at all.

Dimensions: T words.
"""

import math
from pathlib import Path
from textwrap import fill

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle as Bar
from numpy.typing import NDArray
from PIL import Image

from captioning.core.ownership import output

LONGEST = 360  # the longer side of a drawn photograph in pixels
PAGE = 2.0  # the approximate ratio of a drawing's width to its height
GREY = 0.55  # the fraction of a photograph's brightness under the weights
HEAT = colormaps["inferno"]  # from black to pale yellow, with increasing brightness also for colour-blind readers
HOTTEST = 0.85  # the colour of the largest weight: a lighter one would hide the photograph
TRACK, FILLED = "#dddddd", "#31688e"  # of a bar
BAR = 0.34  # the height of a bar with its number in inches

Rectangle = tuple[float, float, float, float]


def draw_attention(
    image: Image.Image,
    text: str,
    attention: NDArray[np.float32],
    path: Path,
    seen: Rectangle | None = None,
    sentinel: NDArray[np.float32] | None = None,
) -> None:
    """Draw a photograph alone, and then once for each word of its caption, below the word.

    Args:
        image: the photograph, RGB.
        text: the T words of the caption, separated by blanks.
        attention: ``(T, rows, columns)``, the attention weights of each word.
        path: the PNG to write.
        seen: left, top, right and bottom edge, in pixels, of the part of the photograph that the grid covers (see
            ``ImageTransform.seen``); by default the whole photograph.
        sentinel: ``(T,)``, the weight of the visual sentinel at each word, 0 to 1; None for no bars.

    Raises:
        ValueError: the numbers of words, maps and weights of the sentinel differ.
    """
    scale = LONGEST / max(image.size)
    width, height = (max(1, round(scale * side)) for side in image.size)
    small = image.resize((width, height), Image.Resampling.LANCZOS)
    left, top, right, bottom = (scale * edge for edge in seen or (0, 0, *image.size))
    pictures = [("", small)]
    for word, weights in zip(text.split(), attention, strict=True):
        pictures.append((word, lay_over(small, weights, (left, top, right, bottom))))
    if sentinel is not None and len(sentinel) != len(attention):
        raise ValueError(f"{len(sentinel)} weights of the sentinel for {len(attention)} words")

    columns = min(len(pictures), math.ceil(math.sqrt(PAGE * len(pictures) * height / width)))
    rows = math.ceil(len(pictures) / columns)
    columns = math.ceil(len(pictures) / rows)  # the fewest columns: no row is much emptier than the others
    high = 2.4 * height / width + 0.35 + (0 if sentinel is None else BAR)
    figure = Figure(figsize=(2.4 * columns, high * rows), layout="constrained")
    for axes in figure.subplots(rows, columns, squeeze=False).flat:
        axes.axis("off")
    for axes, (word, picture) in zip(figure.axes, pictures, strict=False):
        axes.imshow(picture)
        axes.set_title(fill(word, 22), fontsize="large", parse_math=False)  # a longer word would lie over the next
    if sentinel is not None:
        first, *others = figure.axes[: len(pictures)]
        draw_bar(first, None)
        for axes, weight in zip(others, sentinel, strict=True):
            draw_bar(axes, float(weight))
    with output(path, "wb") as file:
        figure.savefig(file, format="png", dpi=120)


def draw_bar(axes: Axes, weight: float | None) -> None:
    """Draw the sentinel's weight below a picture, as a bar and a number.

    Args:
        axes: the axes of the picture.
        weight: 0 (an empty bar) to 1 (a full one); None for the legend in place of a bar.
    """
    (left, right), (bottom, _) = axes.get_xlim(), axes.get_ylim()  # in pixels of the picture, from above
    inch = (right - left) / 2.4
    number, across = left + 1.9 * inch, 1.8 * inch
    top = bottom + 0.1 * inch
    if weight is None:
        axes.text(left, top, "β: weight of the sentinel", va="top", fontsize="small")
        return
    for colour, length in ((TRACK, across), (FILLED, across * weight)):
        axes.add_patch(Bar((left, top), length, 0.09 * inch, color=colour, linewidth=0, clip_on=False))
    axes.text(number, top + 0.045 * inch, f"β {weight:.2f}", va="center_baseline", fontsize="small")


def lay_over(image: Image.Image, weights: NDArray[np.float32], place: Rectangle) -> Image.Image:
    """Overlay a grey photograph with weights, from black (adds nothing) through purple and orange to yellow.

    The colour scale runs from 0 to the largest weight, not from the least to the largest: uniform attention colours the
    whole photograph uniformly.

    Args:
        image: the photograph, RGB.
        weights: ``(rows, columns)`` weights, not negative.
        place: left, top, right and bottom edge of the grid in pixels of the photograph.

    Returns:
        An RGB picture of the photograph's size.
    """
    left, top, right, bottom = (round(edge) for edge in place)
    grid = Image.fromarray((weights / weights.max()).astype(np.float32))
    smooth = grid.resize((max(1, right - left), max(1, bottom - top)), Image.Resampling.BICUBIC)
    heat = np.zeros((image.height, image.width), dtype=np.float32)
    heat[top:bottom, left:right] = np.asarray(smooth).clip(0, 1)  # bicubic curves overshoot a little
    colours = HEAT(HOTTEST * heat)[..., :3]  # (height, width, 3), 0 to 1
    grey = GREY / 255 * np.asarray(image.convert("L"), dtype=np.float32)[..., None]
    screen = 1 - (1 - grey) * (1 - colours)  # brighter than both
    return Image.fromarray((255 * screen).round().astype(np.uint8))
