"""The content of scenes and its random choice: groups of things, their places, and combinations held out for test."""

from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np

from captioning.data.scenes.shapes import THINGS, Thing

SIDE = 160  # the width and height of a picture in pixels
MARGIN = 3  # pixels between an object and the edge of its cell, so that objects stay apart

Size = Literal["small", "big"]
Texture = Literal["plain", "striped", "dotted"]
Relation = Literal["left", "right", "above", "below"]
Background = Literal["wall", "meadow", "beach", "night", "snow", "bricks", "wood", "cloth"]

COLOURS = {
    "red": (220, 45, 45),
    "orange": (245, 140, 30),
    "yellow": (250, 215, 50),
    "green": (60, 165, 75),
    "blue": (50, 105, 220),
    "purple": (135, 65, 185),
    "pink": (250, 145, 190),
    "brown": (130, 85, 50),
}
TEXTURES: tuple[Texture, ...] = ("plain", "striped", "dotted")
RELATIONS: tuple[Relation, ...] = ("left", "right", "above", "below")
BACKGROUNDS: tuple[Background, ...] = ("wall", "meadow", "beach", "night", "snow", "bricks", "wood", "cloth")
SIZES: dict[Size, tuple[int, int]] = {"small": (36, 42), "big": (56, 68)}  # pixels, both ends included

Pair = tuple[str, Thing]
PAIRS: tuple[Pair, ...] = tuple((colour, thing) for thing in THINGS for colour in COLOURS)
# Every thing and every colour lacks exactly one partner in training: 3 and 8 have no common divisor.
HELD_OUT: tuple[Pair, ...] = tuple((list(COLOURS)[(3 * i + 1) % 8], thing) for i, thing in enumerate(THINGS))
SEEN: tuple[Pair, ...] = tuple(pair for pair in PAIRS if pair not in HELD_OUT)

T = TypeVar("T")
Rectangle = tuple[int, int, int, int]  # left, top, width, height


@dataclass(frozen=True)
class Group:
    """One to four equal objects and their places.

    Attributes:
        thing, colour, texture, size: the properties of the objects.
        places: (x, y, side) of each object's square, in pixels; (x, y) is its upper left corner.
    """

    thing: Thing
    colour: str
    texture: Texture
    size: Size
    places: tuple[tuple[int, int, int], ...]

    @property
    def count(self) -> int:
        """The number of objects."""
        return len(self.places)


@dataclass(frozen=True)
class Scene:
    """The content of a picture.

    Attributes:
        background: the background's kind.
        groups: one group, or two of different things.
        relation: the position of the first group relative to the second; None for one group.
    """

    background: Background
    groups: tuple[Group, ...]
    relation: Relation | None = None


def pick(rng: np.random.Generator, choices: tuple[T, ...] | list[T]) -> T:
    """One of the choices, each with equal probability."""
    return choices[int(rng.integers(len(choices)))]


def plan_scene(rng: np.random.Generator, number: int, test: bool) -> Scene:
    """Choose the content of a scene at random.

    Args:
        rng: the generator of this scene.
        number: the scene's index in its split; the first group goes through all combinations of colour and thing in
            turn, so that a split of 56 scenes has all of them.
        test: True for the test split, where every second scene shows a combination that no other split has.
    """
    first = SEEN[number * 5 % len(SEEN)]  # 5 and 56 have no common divisor: consecutive scenes differ
    if test and number % 2:
        first = HELD_OUT[number // 2 % len(HELD_OUT)]
    background = pick(rng, BACKGROUNDS)
    if rng.random() < 0.35:
        count = int(rng.integers(1, 5))
        return Scene(background, (_group(rng, first, count, (0, 0, SIDE, SIDE)),))
    second = pick(rng, [pair for pair in SEEN if pair[1] is not first[1]])
    relation = pick(rng, RELATIONS)
    half = SIDE // 2
    parts: tuple[Rectangle, Rectangle] = (
        ((0, 0, half, SIDE), (half, 0, half, SIDE))
        if relation in ("left", "right")
        else ((0, 0, SIDE, half), (0, half, SIDE, half))
    )
    if relation in ("right", "below"):
        parts = (parts[1], parts[0])
    counts = [1 + int(rng.integers(6)) // 3 + int(rng.integers(6)) // 5 for _ in range(2)]  # mostly one or two
    groups = [_group(rng, pair, count, part) for pair, count, part in zip((first, second), counts, parts, strict=True)]
    return Scene(background, tuple(groups), relation)


def _group(rng: np.random.Generator, pair: Pair, count: int, region: Rectangle) -> Group:
    cells = _cells(rng, count, region)
    room = min(min(width, height) for _, _, width, height in cells) - 2 * MARGIN
    size = pick(rng, [size for size, (_, most) in SIZES.items() if most <= room])
    least, most = SIZES[size]
    places = []
    for left, top, width, height in cells:
        side = int(rng.integers(least, most + 1))
        x = left + MARGIN + int(rng.integers(width - side - 2 * MARGIN + 1))
        y = top + MARGIN + int(rng.integers(height - side - 2 * MARGIN + 1))
        places.append((x, y, side))
    return Group(pair[1], pair[0], pick(rng, TEXTURES), size, tuple(places))


def _cells(rng: np.random.Generator, count: int, region: Rectangle) -> list[Rectangle]:
    """Cut a region into cells, one for each object."""
    left, top, width, height = region
    across, down = {
        1: (1, 1),
        2: (2, 1) if width > height or (width == height and rng.random() < 0.5) else (1, 2),
        3: (2, 2) if width == height else (3, 1) if width > height else (1, 3),
        4: (2, 2),
    }[count]
    width, height = width // across, height // down
    cells = [(left + i * width, top + j * height, width, height) for j in range(down) for i in range(across)]
    if len(cells) > count:
        del cells[int(rng.integers(len(cells)))]
    return cells
