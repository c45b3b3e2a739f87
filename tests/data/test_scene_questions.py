"""Questions about scenes: each answer follows from the scene, and equal seeds ask equally."""

import json
import re
from pathlib import Path

import numpy as np

from captioning.data import read_scene_questions
from captioning.data.scenes.describe import PREPOSITIONS
from captioning.data.scenes.questions import NUMBERS, ask
from captioning.data.scenes.world import Scene, plan_scene


def scenes() -> list[Scene]:
    return [
        plan_scene(np.random.Generator(np.random.PCG64([0, 0, number])), number, test=False) for number in range(80)
    ]


def test_answers_are_those_of_the_scene() -> None:
    for number, scene in enumerate(scenes()):
        asked = list(ask(scene, np.random.Generator(np.random.PCG64(number))))
        named = {word: group for group in scene.groups for word in group.thing.words}
        for text, answer, kind in asked:
            mentioned = [group for word, group in named.items() if re.search(rf"\b{word}\b", text)]
            if kind == "number":
                assert answer == NUMBERS[mentioned[0].count]
            elif kind == "colour":
                assert answer == mentioned[0].colour
            elif kind == "location":
                centre = np.mean([[x + side / 2, y + side / 2] for x, y, side in mentioned[0].places], axis=0)
                other = next(group for group in scene.groups if group is not mentioned[0])
                there = np.mean([[x + side / 2, y + side / 2] for x, y, side in other.places], axis=0)
                across, down = centre - there
                sides = {"left": across < 0, "right": across > 0, "top": down < 0, "bottom": down > 0}
                assert sides[answer], (text, answer)
            elif mentioned:  # what is left of the ball
                assert answer != mentioned[0].thing.name and answer in {group.thing.name for group in scene.groups}
                assert any(word in text for words in PREPOSITIONS.values() for word in words)
            else:  # what is red
                assert next(group.thing.name for group in scene.groups if group.colour in text) == answer
        assert {kind for _, _, kind in asked} >= {"number", "colour"}


def test_questions_are_of_the_pictures(tmp_path: Path) -> None:
    found = read_scene_questions(tmp_path / "scenes", count=24, seed=3)
    assert [len(found.photos[split]) for split in ("train", "val", "test")] == [20, 2, 2]
    assert found.splits == read_scene_questions(tmp_path / "scenes", count=24, seed=3).splits
    assert all(photo.boxes for photo in found.photos["train"])
    boxes = len(json.loads((tmp_path / "scenes" / "instances_train.json").read_text())["annotations"])
    counted = [each for each in found["train"] if each.kind == "number"]
    assert sum({word: number for number, word in NUMBERS.items()}[each.answer] for each in counted) == boxes
