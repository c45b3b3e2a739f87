"""The embedded sample: the same bytes from the same seed, true captions, right boxes, combinations kept for test."""

import errno
import filecmp
import io
import json
import logging
import re
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pycocotools.coco import COCO

from captioning.core.errors import CaptioningError
from captioning.core.ownership import MARK
from captioning.data import CaptionedPhotos, read_scenes
from captioning.data.scenes.describe import PREPOSITIONS, SIZE_WORDS, TEXTURE_WORDS, WITH_TEXTURE, describe
from captioning.data.scenes.draw import draw_background, draw_scene
from captioning.data.scenes.reader import VERSION
from captioning.data.scenes.world import COLOURS, HELD_OUT, SIDE, Scene, plan_scene


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("data") / "scenes"


@pytest.fixture(scope="module")
def scenes(root: Path) -> CaptionedPhotos:
    return read_scenes(root, count=120)


def scene_of(seed: int, test: bool = False) -> tuple[Scene, np.random.Generator]:
    rng = np.random.Generator(np.random.PCG64(seed))
    return plan_scene(rng, seed, test), rng


any_scene = st.builds(scene_of, st.integers(0, 100_000), st.booleans())


def test_the_same_seed_gives_the_same_bytes(scenes: CaptionedPhotos, root: Path, tmp_path: Path) -> None:
    read_scenes(tmp_path / "again", count=120)
    names = sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file() and path.name != MARK)
    assert len(names) == 120 + 6 + 1
    assert filecmp.cmpfiles(root, tmp_path / "again", names, shallow=False) == (names, [], [])
    read_scenes(tmp_path / "other", count=120, seed=1)
    assert filecmp.cmpfiles(root, tmp_path / "other", names, shallow=False)[1] == names


def test_splits_and_captions(scenes: CaptionedPhotos) -> None:
    assert {split: len(photos) for split, photos in scenes.splits.items()} == {"train": 100, "val": 10, "test": 10}
    assert all(len(set(photo.captions)) == 5 for photo in scenes)
    assert len({photo.id for photo in scenes}) == 120
    assert Image.open(scenes["val"][0].path).size == (SIDE, SIDE)


def test_some_combinations_are_in_test_alone(scenes: CaptionedPhotos) -> None:
    def pairs(split: str, count: int) -> set[tuple[str, str]]:
        numbered = [(scene_of(number, split == "test")[0]) for number in range(count)]
        return {(group.colour, group.thing.name) for scene in numbered for group in scene.groups}

    held_out = {(colour, thing.name) for colour, thing in HELD_OUT}
    train = pairs("train", 300)
    assert not train & held_out
    assert held_out <= pairs("test", 16)
    assert len(train) == 56
    assert {colour for colour, _ in train} == set(COLOURS)
    for photo in [*scenes["train"], *scenes["val"]]:  # and so say the captions
        for colour, thing in HELD_OUT:
            assert not any(f" {colour} {word}" in caption for caption in photo.captions for word in thing.words)


@settings(max_examples=150, deadline=None)
@given(any_scene)
def test_captions_are_true(drawn: tuple[Scene, np.random.Generator]) -> None:
    scene, rng = drawn
    sizes = {word: size for size, forms in SIZE_WORDS.items() for word in forms}
    textures = {word: texture for texture, forms in TEXTURE_WORDS.items() for word in forms}
    tails = {tail: texture for texture, forms in WITH_TEXTURE.items() for tail in forms}
    counts = {1: {"a", "an"}, 2: {"two", "a pair of"}, 3: {"three"}, 4: {"four"}}
    captions = describe(scene, rng)
    assert len(set(captions)) == 5
    for caption in captions:
        for group in scene.groups:
            names = group.thing.singular if group.count == 1 else group.thing.plural
            phrase = re.search(
                rf"\b(a pair of|an|a|two|three|four)((?: (?:{'|'.join([*sizes, *textures, *COLOURS])}))+)"
                rf" (?:{'|'.join(names)})\b(?: ({'|'.join(tails)}))?",
                caption.lower(),
            )
            assert phrase, caption
            adjectives = phrase[2].split()
            assert phrase[1] in counts[group.count]
            assert (phrase[1] == "an") == (phrase[1] in ("a", "an") and adjectives[0] == "orange")
            assert [word for word in adjectives if word in COLOURS] == [group.colour]
            assert [sizes[word] for word in adjectives if word in sizes] in ([], [group.size])
            said = [textures[word] for word in adjectives if word in textures] + (
                [tails[phrase[3]]] if phrase[3] else []
            )
            assert said in ([], [group.texture])


@settings(max_examples=100, deadline=None)
@given(any_scene)
def test_boxes_hold_their_objects_and_agree_with_the_relation(drawn: tuple[Scene, np.random.Generator]) -> None:
    scene, rng = drawn
    state = rng.bit_generator.state
    picture, groups = draw_scene(scene, rng)
    rng.bit_generator.state = state
    bare = draw_background(scene.background, rng).clip(0, 255).astype(np.uint8)
    changed = (np.asarray(picture) != bare).any(axis=2)
    boxes = [box for group in groups for box in group]
    for x, y, width, height in boxes:
        assert min(x, y) >= 0 and max(x + width, y + height) <= SIDE
        assert min(width, height) >= 20  # nearly a cell of a 7 × 7 grid
        for side in (changed[y, x : x + width], changed[y : y + height, x], changed[y : y + height, x + width - 1]):
            assert side.any()  # tight
        changed[y : y + height + 4, x : x + width + 3] = False  # with the shadow
    assert not changed.any()  # nothing is drawn outside of the boxes
    for (x, y, w, h), (i, j, v, u) in combinations(boxes, 2):
        assert x + w < i or i + v < x or y + h < j or j + u < y  # apart
    if scene.relation:
        first, second = groups
        gap = {
            "left": min(b[0] for b in second) - max(b[0] + b[2] for b in first),
            "right": min(b[0] for b in first) - max(b[0] + b[2] for b in second),
            "above": min(b[1] for b in second) - max(b[1] + b[3] for b in first),
            "below": min(b[1] for b in first) - max(b[1] + b[3] for b in second),
        }
        assert gap[scene.relation] > 0


def test_prepositions_put_the_right_thing_first() -> None:
    opposite = {"left": "right", "right": "left", "above": "below", "below": "above"}
    checked = 0
    for seed in range(400):
        scene, rng = scene_of(seed)
        if not scene.relation:
            continue
        first, second = (group.thing.words for group in scene.groups)
        for caption in describe(scene, rng):
            text = f" {caption.lower().rstrip('.')} ".replace("under a blue sky", "")
            relations = [
                (text.index(f" {form} "), len(form), relation)
                for relation, forms in PREPOSITIONS.items()
                for form in forms
                if f" {form} " in text and f" {form} and" not in text
            ]
            if not relations or " and " in text:
                continue
            start, length, relation = max(relations, key=lambda found: found[1])
            after = next(word for word in text[start + length :].split() if word in first + second)
            assert relation == (scene.relation if after in second else opposite[scene.relation]), caption
            checked += 1
    assert checked > 500


def test_boxes_carry_the_words_of_the_captions(scenes: CaptionedPhotos) -> None:
    for photo in scenes:
        assert photo.boxes
        for caption in photo.captions:
            words = set(caption.lower().rstrip(".").split())
            assert all(words & set(box.words) for box in photo.boxes)


def test_files_are_coco(scenes: CaptionedPhotos, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout", io.StringIO())
    captions, instances = COCO(root / "captions_test.json"), COCO(root / "instances_test.json")
    for photo in scenes["test"]:
        assert tuple(entry["caption"] for entry in captions.imgToAnns[photo.id]) == photo.captions
        loaded = instances.loadAnns(instances.getAnnIds(imgIds=[photo.id]))
        assert [tuple(entry["bbox"]) for entry in loaded] == [(b.x, b.y, b.width, b.height) for b in photo.boxes]
        assert [instances.cats[entry["category_id"]]["name"] for entry in loaded] == [b.words[0] for b in photo.boxes]
    assert len(instances.getCatIds()) == 8


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_drawn_once_and_other_scenes_are_refused(tmp_path: Path) -> None:
    root = tmp_path / "scenes"
    read_scenes(root, count=12)
    before = contents(root)
    read_scenes(root, count=12)
    for count, seed in ((24, 0), (12, 1)):
        with pytest.raises(CaptioningError, match=rf"holds other scenes \(version {VERSION}, count 12, seed 0; asked"):
            read_scenes(root, count, seed)
    (root / MARK).unlink()  # as versions before this one have drawn them
    assert len(list(read_scenes(root, count=12))) == 12
    with pytest.raises(CaptioningError, match=rf"data\.root={root}_24"):
        read_scenes(root, count=24)
    assert contents(root) | {MARK: before[MARK]} == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["scenes"]


def test_an_interrupted_drawing_is_not_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Image.Image.save

    def full_disk(self: Image.Image, path: Path, **options: object) -> None:
        if path.name == "000007.png":
            raise OSError(errno.ENOSPC, "No space left on device")
        real(self, path, **options)

    root = tmp_path / "scenes"
    read_scenes(tmp_path / "whole", count=12)
    with monkeypatch.context() as patch:
        patch.setattr(Image.Image, "save", full_disk)
        with pytest.raises(CaptioningError, match=r"scenes can't be drawn \(No space left on device\)"):
            read_scenes(root, count=12)
    with pytest.raises(CaptioningError, match=rf"unfinished .* scenes \(version {VERSION}, count 12, seed 0\)"):
        read_scenes(root, count=13)
    (root / "train" / "000001.png").write_bytes(b"half")
    assert len(list(read_scenes(root, count=12))) == 12
    assert contents(root) == contents(tmp_path / "whole")


MANIFESTS = [
    '{"name": "my photos"}',
    f'{{"version": {VERSION}, "count": 24, "seed": 0}}',
    f'{{"version": {VERSION}, "count": 12, "seed": 0, "photographer": "me"}}',
    "[]",
    "no JSON",
]


@pytest.mark.parametrize("manifest", [None, *MANIFESTS])
def test_foreign_folders_are_left_alone(manifest: str | None, tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "000001.png").write_text("a wedding")
    (tmp_path / "thesis.txt").write_text("two years of work")
    if manifest is not None:
        (tmp_path / "manifest.json").write_text(manifest)
    before = contents(tmp_path)
    with pytest.raises(CaptioningError, match=r"other than scenes|other scenes|manifest of scenes is not valid JSON"):
        read_scenes(tmp_path, count=12)
    assert contents(tmp_path) == before


def test_too_few_scenes(tmp_path: Path) -> None:
    with pytest.raises(CaptioningError, match="at least 12"):
        read_scenes(tmp_path / "scenes", count=3)


def test_the_manifest_is_of_these_scenes(scenes: CaptionedPhotos, root: Path, caplog: pytest.LogCaptureFixture) -> None:
    manifest = json.loads((root / "manifest.json").read_text())
    assert manifest == {"version": VERSION, "count": 120, "seed": 0}
    with caplog.at_level(logging.WARNING):
        read_scenes(root, count=120)
    assert not caplog.records
