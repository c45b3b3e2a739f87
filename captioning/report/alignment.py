"""The attention of a translation as a matrix: Bahdanau, Cho & Bengio (ICLR 2015, arXiv 1409.0473), figure 3.

Dimensions: T tokens of the translation, L tokens of the source.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from captioning.core.ownership import output
from captioning.text.reversible import MARK

CELL = 0.32  # the side of a cell in inches


def draw_alignment(source: Sequence[str], target: Sequence[str], attention: NDArray[np.float32], path: Path) -> None:
    """Draw the weights: source words from left to right, target words from above, 0 black and 1 white.

    Args:
        source: the L tokens of the source.
        target: the T tokens of the translation.
        attention: ``(T, L)``, the weight of each source token before each target token.
        path: the PNG to write.

    Raises:
        ValueError: the numbers of tokens and weights differ.
    """
    if attention.shape != (len(target), len(source)):
        raise ValueError(f"weights {attention.shape} for {len(target)} words from {len(source)}")
    figure = Figure(figsize=(CELL * len(source) + 1.6, CELL * len(target) + 1.2), layout="constrained")
    axes = figure.subplots()
    axes.imshow(attention, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    axes.set_xticks(range(len(source)), [_plain(token) for token in source], rotation=90, parse_math=False)
    axes.set_yticks(range(len(target)), [_plain(token) for token in target], parse_math=False)
    axes.xaxis.tick_top()
    axes.tick_params(length=0)
    with output(path, "wb") as file:
        figure.savefig(file, format="png", dpi=100)


def draw_by_length(runs: Mapping[str, Sequence[Mapping[str, Any]]], name: str, path: Path) -> None:
    """Draw a score by the number of the source's words: Bahdanau et al., figure 2.

    Args:
        runs: for each run its groups of sentences, see ``captioning.tasks.translation.evaluation.Standing.by_length``.
        name: the score's name.
        path: the PNG to write.
    """
    figure = Figure(figsize=(5, 3.2), layout="constrained")
    axes = figure.subplots()
    for marker, (run, groups) in zip("osv^Dx*" * len(runs), runs.items(), strict=False):
        places = [(group["least"] + group["most"]) / 2 for group in groups]
        axes.plot(places, [100 * group["scores"][name] for group in groups], marker=marker, label=run)
    axes.set_xlabel("words of the source")
    axes.set_ylabel(name)
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    axes.legend()
    with output(path, "wb") as file:
        figure.savefig(file, format="png", dpi=100)


def _plain(token: str) -> str:
    """A token without the marks that few fonts have."""
    return token.replace(MARK, "")
