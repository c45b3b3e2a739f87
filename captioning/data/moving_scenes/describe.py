"""Five differently worded and true captions of a moving scene, from a small grammar.

The words for an event (``captioning.metrics.events``) are in no caption of another event.
"""

import numpy as np

from captioning.data.moving_scenes.plan import Actor, Event, MovingScene
from captioning.data.scenes.describe import PLACES
from captioning.data.scenes.world import pick

VERBS: dict[Event, tuple[str, ...]] = {
    "left": ("moves to the left", "goes to the left", "moves left"),
    "right": ("moves to the right", "goes to the right", "moves right"),
    "falls": ("falls", "falls down", "drops to the ground"),
    "rises": ("rises", "goes up", "moves up into the air"),
    "appears": ("appears", "suddenly appears", "comes into view"),
    "disappears": ("disappears", "suddenly disappears", "goes out of view"),
    "changes": ("turns from {colour} to {other}", "changes from {colour} to {other}", "becomes {other}"),
    "comes": ("comes to {b}", "moves towards {b}", "comes near {b}"),
    "leaves": ("moves away from {b}", "goes away from {b}", "leaves {b}"),
    "still": ("lies still", "does not move", "stays where it is"),
    "passes": ("moves past {b}", "goes past {b}", "passes {b}"),
    "circles": ("moves in a circle", "goes round and round", "goes in a circle"),
    "jumps": ("jumps", "jumps once", "makes a jump"),
}
PATTERNS = (
    "{a} {verb}",
    "{a} {verb} {place}",
    "there is {a} that {verb}",
    "{place} {a} {verb}",
    "a clip of {a} that {verb}",
    "we see {a} that {verb} {place}",
)


def describe(scene: MovingScene, rng: np.random.Generator, count: int = 5) -> list[str]:
    """Captions of a clip, each from another pattern; every caption says what happens, and to what."""
    return [_sentence(PATTERNS[number], scene, rng) for number in rng.permutation(len(PATTERNS))[:count]]


def _sentence(pattern: str, scene: MovingScene, rng: np.random.Generator) -> str:
    first, *others = scene.actors
    names = {"colour": first.colours[0], "other": first.colours[-1], "b": _phrase(others[0], rng) if others else ""}
    verb = pick(rng, VERBS[scene.event]).format(**names)
    sentence = pattern.format(a=_phrase(first, rng), verb=verb, place=pick(rng, PLACES[scene.background]))
    return sentence[0].upper() + sentence[1:] + "."


def _phrase(actor: Actor, rng: np.random.Generator) -> str:
    names = actor.thing.singular
    return f"a {actor.colours[0]} {names[0] if rng.random() < 0.8 else pick(rng, names)}"
