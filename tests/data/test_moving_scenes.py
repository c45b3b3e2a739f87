"""Moving scenes: what is drawn is what is said, and what the order alone decides looks the same without it."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from captioning.core.clips import FrameChoice, read_frames
from captioning.core.errors import CaptioningError
from captioning.data import CaptionedPhotos, read_moving_scenes
from captioning.data.moving_scenes.describe import VERBS
from captioning.data.moving_scenes.plan import EVENTS, FRAMES, IN_MOTION, LABELS, MovingScene, plan
from captioning.data.moving_scenes.reader import draw_frames
from captioning.data.scenes.world import SIDE
from captioning.metrics import Events, Scorer


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> CaptionedPhotos:
    return read_moving_scenes(tmp_path_factory.mktemp("moving") / "clips", count=52, seed=3)


def scenes(count: int) -> list[MovingScene]:
    return [plan(np.random.Generator(np.random.PCG64([1, number])), number) for number in range(count)]


def test_the_clips_read_are_those_drawn(clips: CaptionedPhotos) -> None:
    assert {split: len(found) for split, found in clips.splits.items()} == {"train": 40, "val": 4, "test": 8}
    for number, clip in enumerate(clips["train"][:13]):
        rng = np.random.Generator(np.random.PCG64([3, 0, number]))
        scene = plan(rng, number)
        found = read_frames(clip.path, FrameChoice(99))
        assert len(found) == FRAMES and found[0].size == (80, 80)
        for ours, theirs in zip(found, draw_frames(scene, rng), strict=True):
            np.testing.assert_array_equal(np.asarray(ours), np.asarray(theirs))
        assert clip.labels == scene.labels and set(clip.labels) <= set(LABELS)
        assert len(set(clip.captions)) == 5


def test_every_caption_says_its_event_and_no_other_of_its_kind(clips: CaptionedPhotos) -> None:
    metrics = [Events("order"), Events("motion")]
    scorer = Scorer(metrics, [clip.captions for clip in clips["train"]])
    for place in range(5):
        scores = scorer.score([clip.captions[place] for clip in clips["train"]])
        assert set(scores.corpus().values()) == {1.0}
    of_kind = np.concatenate([np.split(each, 2, axis=1)[1] for each in scores.statistics], axis=1)
    assert of_kind.sum(1).tolist() == [1] * 40
    backwards = {"left": "right", "right": "left"}
    swapped = [
        " ".join(backwards.get(word, word) for word in clip.captions[0].lower().split()) for clip in clips["train"]
    ]
    swapped = [caption.replace("left.", "right.") for caption in swapped]
    assert scorer.score(swapped).corpus()["sideways"] < 1
    assert scorer.score([""] * 40).corpus()["order"] == 0
    assert set(VERBS) == set(EVENTS)


def test_things_stay_in_the_picture_and_events_take_turns() -> None:
    drawn = scenes(400)
    assert len(set(Counter(scene.event for scene in drawn[: 13 * 30]).values())) == 1
    for scene in drawn:
        for actor in scene.actors:
            for place in actor.places:
                assert place is None or all(0 <= each <= SIDE - actor.side for each in place), scene.event


def test_events_in_order_have_the_same_frames_both_ways() -> None:
    """A mean over many clips of where the thing is, and for how long, does not tell the two of a pair apart."""
    found: dict[str, list[tuple[float, float, float]]] = {}
    for scene in scenes(13 * 150):
        if scene.event not in IN_MOTION:
            places = [place for place in scene.actors[0].places if place is not None]
            x, y = np.mean(places, axis=0)
            found.setdefault(scene.event, []).append((x, y, len(places)))
    for one, other in (("left", "right"), ("falls", "rises"), ("appears", "disappears"), ("comes", "leaves")):
        a, b = np.array(found[one]), np.array(found[other])
        error = np.sqrt(a.var(0) / len(a) + b.var(0) / len(b)) + 1e-9
        assert (abs(a.mean(0) - b.mean(0)) < 4 * error).all(), one


def test_other_clips_in_the_folder_stay(clips: CaptionedPhotos) -> None:
    folder = Path(clips["train"][0].path).parents[1]
    with pytest.raises(CaptioningError, match="this holds other moving scenes"):
        read_moving_scenes(folder, count=52, seed=4)
    with pytest.raises(CaptioningError, match="at least 12 moving scenes"):
        read_moving_scenes(folder / "few", count=11)
