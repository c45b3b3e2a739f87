"""The eight things in scenes, as polygons in the square from -1 to 1 (x to the right, y downwards)."""

import math
from dataclasses import dataclass
from typing import Literal

Point = tuple[float, float]
Fill = Literal["body", "light", "dark"]


@dataclass(frozen=True)
class Part:
    """A polygon of a thing.

    Attributes:
        points: the corners.
        fill: the kind of surface; ``"body"`` takes the thing's colour and texture and an outline; other values are flat
            details.
    """

    points: tuple[Point, ...]
    fill: Fill = "body"


@dataclass(frozen=True)
class Thing:
    """A kind of object.

    Attributes:
        singular: the names; the first one is the category's.
        plural: the names of several, in the same order.
        parts: the polygons to draw, from back to front.
        tilts: True if the thing may be turned a little; houses and cars stand straight.
    """

    singular: tuple[str, ...]
    plural: tuple[str, ...]
    parts: tuple[Part, ...]
    tilts: bool = False

    @property
    def name(self) -> str:
        """The category's name."""
        return self.singular[0]

    @property
    def words(self) -> tuple[str, ...]:
        """All words that name the thing in captions, each once."""
        return tuple(dict.fromkeys((*self.singular, *self.plural)))


def _ellipse(x: float, y: float, across: float, down: float, fill: Fill = "body") -> Part:
    turns = [2 * math.pi * step / 40 for step in range(40)]
    return Part(tuple((x + across * math.cos(turn), y + down * math.sin(turn)) for turn in turns), fill)


def _rectangle(left: float, top: float, right: float, bottom: float, fill: Fill = "body") -> Part:
    return Part(((left, top), (right, top), (right, bottom), (left, bottom)), fill)


def _star() -> Part:
    corners = [(math.pi * step / 5 - math.pi / 2, 1.0 if step % 2 == 0 else 0.48) for step in range(10)]
    return Part(tuple((radius * math.cos(turn), 0.05 + radius * math.sin(turn)) for turn, radius in corners))


def _heart() -> Part:
    turns = [2 * math.pi * step / 60 for step in range(60)]
    return Part(
        tuple(
            (
                16 * math.sin(turn) ** 3 / 17,
                (-13 * math.cos(turn) + 5 * math.cos(2 * turn) + 2 * math.cos(3 * turn) + math.cos(4 * turn)) / 17,
            )
            for turn in turns
        )
    )


def _handle(x: float, y: float, outer: float, inner: float) -> Part:
    turns = [math.radians(degrees) for degrees in range(-90, 91, 10)]
    outside = [(x + outer * math.cos(turn), y + outer * math.sin(turn)) for turn in turns]
    inside = [(x + inner * math.cos(turn), y + inner * math.sin(turn)) for turn in reversed(turns)]
    return Part((*outside, *inside))


BALL = Thing(
    ("ball",), ("balls",), (_ellipse(0, 0, 0.97, 0.97), _ellipse(-0.38, -0.42, 0.15, 0.15, "light")), tilts=True
)
BOX = Thing(
    ("box", "cube"),
    ("boxes", "cubes"),
    (
        _rectangle(-0.95, -0.45, 0.5, 0.95),
        Part(((-0.95, -0.45), (-0.5, -0.92), (0.95, -0.92), (0.5, -0.45))),
        Part(((0.5, -0.45), (0.95, -0.92), (0.95, 0.48), (0.5, 0.95))),
    ),
)
STAR = Thing(("star",), ("stars",), (_star(),), tilts=True)
HEART = Thing(("heart",), ("hearts",), (_heart(),), tilts=True)
FISH = Thing(
    ("fish",),
    ("fish",),
    (
        Part(((0.4, 0.0), (0.97, -0.58), (0.85, 0.0), (0.97, 0.58))),
        _ellipse(-0.2, 0, 0.77, 0.6),
        _ellipse(-0.6, -0.15, 0.1, 0.1, "dark"),
    ),
    tilts=True,
)
HOUSE = Thing(
    ("house", "cottage"),
    ("houses", "cottages"),
    (
        _rectangle(-0.76, -0.1, 0.76, 0.95),
        Part(((-0.98, -0.08), (0.0, -0.95), (0.98, -0.08))),
        _rectangle(-0.5, 0.3, -0.02, 0.95, "dark"),
        _rectangle(0.2, 0.2, 0.56, 0.56, "light"),
    ),
)
CUP = Thing(
    ("cup", "mug"),
    ("cups", "mugs"),
    (
        _handle(0.38, 0.0, 0.56, 0.28),
        Part(((-0.92, -0.8), (0.5, -0.8), (0.36, 0.88), (-0.78, 0.88))),
        _ellipse(-0.21, -0.8, 0.71, 0.13, "light"),
    ),
)
CAR = Thing(
    ("car",),
    ("cars",),
    (
        Part(((-0.68, 0.0), (-0.42, -0.62), (0.36, -0.62), (0.68, 0.0))),
        Part(((-0.98, 0.12), (-0.85, -0.05), (0.85, -0.05), (0.98, 0.12), (0.98, 0.5), (-0.98, 0.5))),
        Part(((-0.5, -0.08), (-0.33, -0.48), (-0.06, -0.48), (-0.06, -0.08)), "light"),
        Part(((0.06, -0.08), (0.06, -0.48), (0.28, -0.48), (0.48, -0.08)), "light"),
        _ellipse(-0.52, 0.5, 0.26, 0.26, "dark"),
        _ellipse(0.52, 0.5, 0.26, 0.26, "dark"),
    ),
)

THINGS = (BALL, BOX, STAR, HEART, FISH, HOUSE, CUP, CAR)
