"""The pointing game: does a captioner look at the object that it names?

Zhang et al., "Top-down Neural Attention by Excitation Backprop", ECCV 2016 (arXiv 1608.00507), section 4.1. A map
points at the place of its largest value; it hits if that place lies in a box of an object of the map's name.

What the paper leaves open for captions, or does otherwise:

- The map is that of the noun: the weights with which "ball" was said, not those of "a", "red" or "balls" before it. Its
  place is the centre of the largest cell (the first of equals), in pixels of the photograph.
- A word that names no object of the photograph is not in the game, right or wrong: whether "cup" belongs into the
  caption is for the scores to say.
- An object that is named twice plays twice. The share of hits is over all named objects together, where the paper takes
  the mean over categories; and there is no margin around a box (the paper allows 15 pixels).
- Where several objects have the name, to be in any of their boxes is a hit.

Chance is the share of hits of places drawn evenly from what the captioner sees: the mean area of the named objects'
boxes (of their union, where several have the name).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Rectangle = tuple[float, float, float, float]


@dataclass(frozen=True)
class Named:
    """An object that a caption names.

    Attributes:
        word: its name.
        hit: whether the place of largest attention lies in one of its boxes.
        chance: the share of what the captioner sees that its boxes cover.
    """

    word: str
    hit: bool
    chance: float


@dataclass(frozen=True)
class Score:
    """The score of a pointing game.

    Attributes:
        hits: how many named objects were pointed at.
        named: how many objects were named; 1 or more.
        chance: the share of hits that chance would give.
    """

    hits: int
    named: int
    chance: float

    @property
    def share(self) -> float:
        """The share of hits."""
        return self.hits / self.named

    def __str__(self) -> str:
        """A sentence."""
        return (
            f"pointing game: {100 * self.share:.1f} % of {self.named} named objects (chance {100 * self.chance:.1f} %)"
        )


def find_named(
    words: Sequence[str], attention: NDArray[np.float32], objects: Mapping[str, Sequence[Rectangle]], seen: Rectangle
) -> Iterator[Named]:
    """The objects that a caption names, in its order.

    Args:
        words: the T words of the caption.
        attention: ``(T, rows, columns)``, the weights with which each word was said.
        objects: each word that names objects of the photograph, and the boxes of these: left, top, right and bottom
            edge in pixels.
        seen: the part of the photograph that the grid covers, likewise (see ``ImageTransform.seen``).

    Raises:
        ValueError: there are not as many words as maps.
    """
    for word, weights in zip(words, attention, strict=True):
        if boxes := objects.get(word):
            x, y = largest(weights, seen)
            hit = any(left <= x < right and top <= y < bottom for left, top, right, bottom in boxes)
            yield Named(word, hit, covered(boxes, seen))


def score(named: Sequence[Named]) -> Score | None:
    """The score of the game, or None where no object was named."""
    if not named:
        return None
    return Score(sum(one.hit for one in named), len(named), sum(one.chance for one in named) / len(named))


def largest(weights: NDArray[np.float32], seen: Rectangle) -> tuple[float, float]:
    """The place (x, y), in pixels of the photograph, of the largest of the weights ``(rows, columns)``."""
    row, column = np.unravel_index(weights.argmax(), weights.shape)
    left, top, right, bottom = seen
    x = left + (right - left) * (int(column) + 0.5) / weights.shape[1]
    y = top + (bottom - top) * (int(row) + 0.5) / weights.shape[0]
    return x, y


def covered(boxes: Sequence[Rectangle], seen: Rectangle) -> float:
    """The share of the area of ``seen`` that lies in one of the boxes or more."""
    left, top, right, bottom = seen
    across = sorted({left, right, *(min(max(edge, left), right) for box in boxes for edge in box[::2])})
    down = sorted({top, bottom, *(min(max(edge, top), bottom) for box in boxes for edge in box[1::2])})
    area = sum(  # the edges cut the photograph into tiles, each of which lies in a box as a whole, or not at all
        (x2 - x1) * (y2 - y1)
        for x1, x2 in pairwise(across)
        for y1, y2 in pairwise(down)
        if any(box[0] <= x1 and x2 <= box[2] and box[1] <= y1 and y2 <= box[3] for box in boxes)
    )
    return area / ((right - left) * (bottom - top))
