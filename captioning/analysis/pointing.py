"""The pointing game: a test whether a captioner attends to the objects that it names.

Zhang et al., "Top-down Neural Attention by Excitation Backprop", ECCV 2016 (arXiv 1608.00507), section 4.1. A map
points at the place of its largest value; the map hits if this place lies in a box of an object with the map's name.

Choices that the paper leaves open for captions, and deviations from the paper:

- The map is that of the noun: the attention weights at the word "ball", not those at "a", "red" or "balls" before. The
  place is the centre of the largest cell (the first of equals), in pixels of the photograph.
- A word that names no object of the photograph does not count: whether "cup" belongs into the caption is a question for
  the captions' scores.
- An object named twice counts twice. The fraction of hits is over all named objects, where the paper takes the mean
  over categories; and a box has no margin (the paper allows 15 pixels).
- If several objects have the name, a place in any of their boxes is a hit.

Chance is the fraction of hits of uniformly random places in the visible part of the photograph: the mean area of the
named objects' boxes (of the union, if several objects have the name).
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
        word: the object's name in the caption.
        hit: True if the place of largest attention lies in one of the object's boxes.
        chance: the fraction of the visible part of the photograph that the object's boxes cover.
    """

    word: str
    hit: bool
    chance: float


@dataclass(frozen=True)
class Score:
    """The score of a pointing game.

    Attributes:
        hits: the number of named objects that were hit.
        named: the number of named objects, 1 or more.
        chance: the fraction of hits by chance.
    """

    hits: int
    named: int
    chance: float

    @property
    def share(self) -> float:
        """The fraction of hits."""
        return self.hits / self.named

    def __str__(self) -> str:
        """The score as a sentence."""
        return (
            f"pointing game: {100 * self.share:.1f} % of {self.named} named objects (chance {100 * self.chance:.1f} %)"
        )


def find_named(
    words: Sequence[str], attention: NDArray[np.float32], objects: Mapping[str, Sequence[Rectangle]], seen: Rectangle
) -> Iterator[Named]:
    """The objects that a caption names, in the order of its words.

    Args:
        words: the T words of the caption.
        attention: ``(T, rows, columns)``, the attention weights of each word.
        objects: the boxes of objects by the words that name them: left, top, right and bottom edge in pixels.
        seen: the edges of the part of the photograph that the grid covers (see ``ImageTransform.seen``).

    Raises:
        ValueError: the numbers of words and maps differ.
    """
    for word, weights in zip(words, attention, strict=True):
        if boxes := objects.get(word):
            x, y = largest(weights, seen)
            hit = any(left <= x < right and top <= y < bottom for left, top, right, bottom in boxes)
            yield Named(word, hit, covered(boxes, seen))


def score(named: Sequence[Named]) -> Score | None:
    """The score of the game; None without any named object."""
    if not named:
        return None
    return Score(sum(one.hit for one in named), len(named), sum(one.chance for one in named) / len(named))


def largest(weights: NDArray[np.float32], seen: Rectangle) -> tuple[float, float]:
    """The place (x, y) of the largest of the weights ``(rows, columns)``, in pixels of the photograph."""
    row, column = np.unravel_index(weights.argmax(), weights.shape)
    left, top, right, bottom = seen
    x = left + (right - left) * (int(column) + 0.5) / weights.shape[1]
    y = top + (bottom - top) * (int(row) + 0.5) / weights.shape[0]
    return x, y


def covered(boxes: Sequence[Rectangle], seen: Rectangle) -> float:
    """The fraction of the area of ``seen`` that at least one box covers."""
    left, top, right, bottom = seen
    across = sorted({left, right, *(min(max(edge, left), right) for box in boxes for edge in box[::2])})
    down = sorted({top, bottom, *(min(max(edge, top), bottom) for box in boxes for edge in box[1::2])})
    area = sum(  # the boxes' edges cut the photograph into tiles, each of which lies entirely inside or outside a box
        (x2 - x1) * (y2 - y1)
        for x1, x2 in pairwise(across)
        for y1, y2 in pairwise(down)
        if any(box[0] <= x1 and x2 <= box[2] and box[1] <= y1 and y2 <= box[3] for box in boxes)
    )
    return area / ((right - left) * (bottom - top))
