"""The content of moving scenes: one event each, and its random choice.

Of the events ``IN_ORDER`` the two of a pair show the same frames in opposite orders: all random numbers are drawn alike
for both, so that a set of frames without their order says nothing about which of the two it is. Of the others,
``IN_MOTION``, one frame does not tell which it is, and several frames do in any order.
"""

import math
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from captioning.data.scenes.shapes import THINGS, Thing
from captioning.data.scenes.world import SIDE, Background, pick

FRAMES = 10
COLOURS = ("red", "yellow", "green", "blue", "purple")
BACKGROUNDS: tuple[Background, ...] = ("wall", "meadow", "snow", "night")

Event = Literal[
    "left",
    "right",
    "falls",
    "rises",
    "appears",
    "disappears",
    "changes",
    "comes",
    "leaves",
    "still",
    "passes",
    "circles",
    "jumps",
]
EVENTS: tuple[Event, ...] = get_args(Event)
IN_MOTION: tuple[Event, ...] = ("still", "passes", "circles", "jumps")
IN_ORDER: tuple[Event, ...] = tuple(event for event in EVENTS if event not in IN_MOTION)
REST = "rest"  # the label of a frame in which nothing happens
LABELS = (REST, "left", "right", "up", "down", "around", "appears", "disappears", "changes")

Place = tuple[int, int]  # x, y of the upper left corner of an object's square, in pixels of a scene


@dataclass(frozen=True)
class Actor:
    """An object, frame by frame.

    Attributes:
        thing: the kind of object.
        colours: the colour in each frame.
        side: the side of the object's square in pixels.
        places: the place in each frame; None where the object is not there.
    """

    thing: Thing
    colours: tuple[str, ...]
    side: int
    places: tuple[Place | None, ...]


@dataclass(frozen=True)
class MovingScene:
    """The content of a clip.

    Attributes:
        background: the background's kind.
        event: what happens.
        actors: the object to which it happens, and of some events another one, which rests.
        labels: what happens in each frame, from the frame before it; one of ``LABELS``.
    """

    background: Background
    event: Event
    actors: tuple[Actor, ...]
    labels: tuple[str, ...]


def plan(rng: np.random.Generator, number: int) -> MovingScene:
    """Choose the content of a clip at random.

    Args:
        rng: the generator of this clip.
        number: the clip's index in its split; the events take turns.
    """
    event = EVENTS[number % len(EVENTS)]
    background = pick(rng, BACKGROUNDS)
    thing, other = (THINGS[each] for each in rng.permutation(len(THINGS))[:2])
    colour, second = (COLOURS[each] for each in rng.permutation(len(COLOURS))[:2])
    side, beside = (int(each) for each in rng.integers(38, 53, size=2))
    colours, places = (colour,) * FRAMES, _places(event, rng, side, beside)
    if event == "changes":
        turn = int(rng.integers(3, FRAMES - 2))
        colours = (colour,) * turn + (second,) * (FRAMES - turn)
    actors = [Actor(thing, colours, side, places[0])]
    if len(places) > 1:
        actors.append(Actor(other, (second,) * FRAMES, beside, places[1]))
    return MovingScene(background, event, tuple(actors), _labels(event, actors[0]))


def _places(event: Event, rng: np.random.Generator, side: int, beside: int) -> list[tuple[Place | None, ...]]:
    """The places of the object, and of another object that the event needs."""
    far = SIDE - side - 4  # the largest place of the object on either axis
    x, y = (int(each) for each in rng.integers(4, far + 1, size=2))
    near, end = (int(each) for each in rng.integers(0, 14, size=2))
    mirrored = bool(rng.random() < 0.5)
    if event in ("left", "right"):
        return [_backwards_if(event == "left", _way(rng, (near, y), (far - end, y)))]
    if event in ("falls", "rises"):
        return [_backwards_if(event == "rises", _way(rng, (x, near), (x, far - end)))]
    if event in ("appears", "disappears"):
        there = int(rng.integers(3, FRAMES - 2))
        gone: tuple[Place | None, ...] = (None,) * (FRAMES - there)
        return [gone + ((x, y),) * there if event == "appears" else ((x, y),) * there + gone]
    if event in ("comes", "leaves"):
        rest = SIDE - beside - 4 - near  # the other object, at the right
        level = int(rng.integers(20, SIDE - max(side, beside) - 8))
        way = _way(rng, (end, level + beside - side), (rest - side - 1, level + beside - side))
        return _mirrored(mirrored, side, beside, _backwards_if(event == "leaves", way), (rest, level))
    if event == "passes":
        middle, level = (SIDE - beside) // 2 + int(rng.integers(-10, 11)), int(rng.integers(8, 50))
        way = _way(rng, (near, level + beside // 2), (far - end, level + beside // 2))
        return _mirrored(mirrored, side, beside, _backwards_if(bool(rng.random() < 0.5), way), (middle, level))
    if event == "circles":
        radius = int(rng.integers(30, 36))
        centre = [int(each) for each in rng.integers(radius + 2, far - radius, size=2)]
        turn = rng.random() * 2 * math.pi
        steps = [turn + (-1 if mirrored else 1) * 2 * math.pi * frame / FRAMES for frame in range(FRAMES)]
        return [
            tuple((centre[0] + round(radius * math.cos(t)), centre[1] + round(radius * math.sin(t))) for t in steps)
        ]
    if event == "jumps":
        ground, high = far - end, int(rng.integers(50, 66))
        begin = int(rng.integers(1, 4))
        heights = [max(0.0, 1 - ((frame - begin - 3) / 3) ** 2) for frame in range(FRAMES)]
        return [tuple((x, ground - round(high * height)) for height in heights)]
    return [((x, y),) * FRAMES]


def _way(rng: np.random.Generator, begin: Place, end: Place) -> tuple[Place, ...]:
    """A straight way with a rest of one to three frames at either end."""
    before, after = (int(each) for each in rng.integers(1, 4, size=2))
    steps = FRAMES - before - after + 1
    moving = [min(max(frame - before + 1, 0), steps) for frame in range(FRAMES)]
    return tuple(
        (begin[0] + (end[0] - begin[0]) * step // steps, begin[1] + (end[1] - begin[1]) * step // steps)
        for step in moving
    )


def _backwards_if(backwards: bool, places: tuple[Place, ...]) -> tuple[Place, ...]:
    return places[::-1] if backwards else places


def _mirrored(
    mirrored: bool, side: int, beside: int, way: tuple[Place, ...], rest: Place
) -> list[tuple[Place | None, ...]]:
    """The places of an object on its way and of one at rest, left and right exchanged or not."""
    if mirrored:
        way = tuple((SIDE - side - x, y) for x, y in way)
        rest = (SIDE - beside - rest[0], rest[1])
    return [way, (rest,) * FRAMES]


def _labels(event: Event, actor: Actor) -> tuple[str, ...]:
    """What happens in each frame: how the object differs from the frame before."""
    labels = [REST]
    for frame in range(1, FRAMES):
        before, now = actor.places[frame - 1], actor.places[frame]
        if before is None or now is None:
            labels.append(REST if before == now else "appears" if before is None else "disappears")
        elif actor.colours[frame] != actor.colours[frame - 1]:
            labels.append("changes")
        elif before == now:
            labels.append(REST)
        elif event == "circles":
            labels.append("around")
        elif before[0] != now[0]:
            labels.append("left" if now[0] < before[0] else "right")
        else:
            labels.append("up" if now[1] < before[1] else "down")
    return tuple(labels)
