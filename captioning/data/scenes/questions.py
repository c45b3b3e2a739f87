"""Questions about scenes, whose answers are exact: how many, which colour, what is where."""

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from captioning.core.ids import ImageId
from captioning.data.photos import SPLITS
from captioning.data.questions import Question, QuestionSet, assemble_questions, numbered
from captioning.data.scenes.describe import INVERSE, PREPOSITIONS
from captioning.data.scenes.reader import read_scenes
from captioning.data.scenes.world import Group, Scene, pick, plan_scene

NUMBERS = {1: "one", 2: "two", 3: "three", 4: "four"}
SIDES = {"left": "left", "right": "right", "above": "top", "below": "bottom"}
HOW_MANY = ("how many {names} are there", "how many {names} can you see", "how many {names} are in the picture")
ONE_COLOUR = ("what is the color of the {name}", "what color is the {name}", "which color has the {name}")
THEIR_COLOUR = ("what is the color of the {names}", "what color are the {names}", "which color have the {names}")
WHERE = {1: ("where is the {name}", "where can you see the {name}"), 2: ("where are the {names}",)}


def read_scene_questions(root: str | os.PathLike[str] = "data/scenes", count: int = 2400, seed: int = 0) -> QuestionSet:
    """Read the scenes, see ``captioning.data.read_scenes``, with questions in place of captions.

    Each group of things is asked for its number and its colour; in a scene of two groups also for its side, and for
    what is beside it; what has a colour that the other group has not is asked for, too. Names and wordings are drawn at
    random, by the seed and the scene alone.

    Args:
        root: the folder of the scenes, which are drawn if it is empty or missing.
        count: the number of pictures, 12 or more.
        seed: the seed; equal seeds give equal scenes and questions.

    Raises:
        CaptioningError: the folder holds something else or other scenes, or can't be written.
    """
    photos = read_scenes(root, count, seed)
    splits: dict[str, list[Question]] = {}
    for place, split in enumerate(SPLITS):
        found: list[Question] = []
        for number, photo in enumerate(photos.splits[split]):
            scene = plan_scene(np.random.Generator(np.random.PCG64([seed, place, number])), number, split == "test")
            wording = np.random.Generator(np.random.PCG64([seed, place, number, 1]))
            found += [Question(0, text, (answer,), photo.id, kind) for text, answer, kind in ask(scene, wording)]
        splits[split] = numbered(found)
    paths: dict[ImageId, Path] = {photo.id: photo.path for photo in photos}
    boxes = {photo.id: photo.boxes for photo in photos}
    return assemble_questions("scenes_questions", splits, root, paths, boxes=boxes)


def ask(scene: Scene, rng: np.random.Generator) -> Iterator[tuple[str, str, str]]:
    """The questions about a scene, each with its answer and its kind."""
    for place, group in enumerate(scene.groups):
        yield _of(HOW_MANY, group, rng), NUMBERS[group.count], "number"
        yield _of(ONE_COLOUR if group.count == 1 else THEIR_COLOUR, group, rng), group.colour, "colour"
        others = [other for other in scene.groups if other is not group]
        if all(other.colour != group.colour for other in others):
            text = f"what is {group.colour}" if group.count == 1 else f"what things are {group.colour}"
            yield text, group.thing.name, "object"
        if scene.relation:
            relation = scene.relation if place == 0 else INVERSE[scene.relation]
            yield _of(WHERE[min(group.count, 2)], group, rng), SIDES[relation], "location"
            beside = pick(rng, PREPOSITIONS[INVERSE[relation]])
            named = f"the {{{'name' if group.count == 1 else 'names'}}}"
            verb = "is" if others[0].count == 1 else "are"
            yield _of((f"what {verb} {beside} {named}",), group, rng), others[0].thing.name, "object"


def _of(patterns: tuple[str, ...], group: Group, rng: np.random.Generator) -> str:
    """A question about a group, in one of several wordings and with one of the thing's names."""
    name = int(rng.integers(len(group.thing.singular)))
    return pick(rng, patterns).format(name=group.thing.singular[name], names=group.thing.plural[name])
