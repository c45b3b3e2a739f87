"""COCO's files: layouts, splits carved out of train, and a sentence for everything that can be wrong with them."""

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from pycocotools.coco import COCO

from captioning.core.errors import CaptioningError
from captioning.data import read_coco

SPLITS = {"train": "train2017", "test": "val2017"}
Build = Callable[..., Path]


@pytest.fixture
def build(tmp_path: Path) -> Build:
    """Make a folder in COCO's form with ten and four photographs of two captions each."""

    def make(annotations: str = "annotations", images: str = "images", year: int = 2017) -> Path:
        for part, numbers in (("train", range(1, 11)), ("val", range(101, 105))):
            names = {n: f"{n:012d}.jpg" if year == 2017 else f"COCO_{part}{year}_{n:012d}.jpg" for n in numbers}
            dataset = {
                "images": [{"id": n, "file_name": name} for n, name in names.items()],
                "annotations": [
                    {"id": 2 * n + i, "image_id": n, "caption": f"caption {i} of {n}"} for n in names for i in (0, 1)
                ],
            }
            (tmp_path / annotations).mkdir(exist_ok=True)
            (tmp_path / annotations / f"captions_{part}{year}.json").write_text(json.dumps(dataset))
            folder = tmp_path / images / f"{part}{year}"
            folder.mkdir(parents=True)
            for name in names.values():
                (folder / name).touch()
        return tmp_path

    return make


def edit(root: Path, change: Callable[[dict[str, Any]], object]) -> None:
    path = root / "annotations" / "captions_val2017.json"
    dataset = json.loads(path.read_text())
    change(dataset)
    path.write_text(json.dumps(dataset))


@pytest.mark.parametrize("annotations", [".", "annotations"])
@pytest.mark.parametrize("images", [".", "images"])
@pytest.mark.parametrize("year", [2014, 2017])
def test_layouts(build: Build, annotations: str, images: str, year: int) -> None:
    root = build(annotations, images, year)
    photos = read_coco(root, {"train": f"train{year}", "test": f"val{year}"}, holdout={})
    assert [photo.id for photo in photos["test"]] == [101, 102, 103, 104]
    assert photos["train"][2].captions == ("caption 0 of 3", "caption 1 of 3")
    assert all(photo.path.parent == root / images / f"train{year}" for photo in photos["train"])


@pytest.mark.parametrize(
    ("holdout", "sizes"),
    [
        ({"val": 3}, (7, 3, 4)),
        ({"val": 0.2}, (8, 2, 4)),
        ({"val": 3, "test": 2}, (5, 3, 2)),
        ({"val": 0, "test": None}, (10, 0, 4)),
    ],
)
def test_holdout(build: Build, holdout: dict[str, float | None], sizes: tuple[int, int, int]) -> None:
    root = build()
    photos = read_coco(root, SPLITS, holdout)
    assert tuple(len(photos.splits.get(split, [])) for split in ("train", "val", "test")) == sizes
    numbers = [photo.id for photo in photos]
    assert len(set(numbers)) == sum(sizes)
    assert [photo.id for photo in read_coco(root, SPLITS, holdout)] == numbers
    if sizes[1]:
        assert [photo.id for photo in read_coco(root, SPLITS, holdout, seed=1)] != numbers


def test_holding_out_everything(build: Build) -> None:
    with pytest.raises(CaptioningError, match=r"can't be held out of 10 photographs"):
        read_coco(build(), SPLITS, {"val": 5, "test": 5})


def test_says_nothing(build: Build, capsys: pytest.CaptureFixture[str]) -> None:
    read_coco(build(), SPLITS, {})
    assert capsys.readouterr() == ("", "")


def test_missing_folder_and_missing_set(build: Build, tmp_path: Path) -> None:
    with pytest.raises(CaptioningError, match=r"nowhere: there is no such folder. .*captioning prepare data=coco"):
        read_coco(tmp_path / "nowhere")
    with pytest.raises(CaptioningError, match=r"there is no captions_train2014.json or annotations/captions_train2014"):
        read_coco(build(), {"train": "train2014"})


def test_missing_pictures_are_named_and_counted(build: Build) -> None:
    root = build()
    gone = sorted((root / "images" / "train2017").iterdir())
    for path in gone:
        path.unlink()
    (root / "images" / "val2017" / f"{102:012d}.jpg").unlink()
    with pytest.raises(CaptioningError, match="11 annotated pictures are missing") as caught:
        read_coco(root, SPLITS, {})
    assert all(str(path) in str(caught.value) for path in gone)
    assert f"{102:012d}.jpg" not in str(caught.value)


def test_broken_json_with_its_line(build: Build) -> None:
    root = build()
    path = root / "annotations" / "captions_train2017.json"
    text = json.dumps(json.loads(path.read_text()), indent=0)
    path.write_text(text[: text.index('"caption 0 of 3"')])
    line = path.read_text().count("\n") + 1
    with pytest.raises(CaptioningError, match=rf"captions_train2017.json: .*line {line}"):
        read_coco(root)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: data.pop("annotations"), "the lists 'images' and 'annotations'"),
        (lambda data: [entry.pop("caption") for entry in data["annotations"]], "entry 0 of 'annotations' has no 'capt"),
        (lambda data: data["images"].append(data["images"][1]), "1 ids occur twice in 'images': 102"),
        (lambda data: data["annotations"].append(data["annotations"][0]), "1 ids occur twice in 'annotations': 202"),
        (lambda data: data["images"].pop(0), "2 captions are of images that the file does not list, with the ids 101"),
        (lambda data: data["annotations"].clear(), "the split 'test' has no photographs"),
        (lambda data: data["annotations"][5].update(caption=None), "entry 5 of 'annotations' has no 'caption'"),
        (lambda data: data["annotations"][5].update(caption=["a", "b"]), "'caption' is \\['a', 'b'\\], no text"),
        (lambda data: data["annotations"][5].update(image_id=1.5), "'image_id' is 1.5, no whole number and no text"),
        (lambda data: data["images"][1].update(file_name=7), "entry 1 of 'images': 'file_name' is 7, no text"),
        (lambda data: data["images"].append(7), "entry 4 of 'images' has no 'id', 'file_name'"),
    ],
)
def test_what_can_be_wrong_in_the_file(build: Build, change: Callable[[dict[str, Any]], object], message: str) -> None:
    root = build()
    edit(root, change)
    with pytest.raises(CaptioningError, match=message):
        read_coco(root, SPLITS, {})


def test_one_photograph_in_two_splits(build: Build) -> None:
    with pytest.raises(CaptioningError, match=r"4 photographs are listed twice .*: 101, 102, 103, 104"):
        read_coco(build(), {**SPLITS, "val": "val2017"}, {})


def test_empty_captions_are_counted_once(build: Build, caplog: pytest.LogCaptureFixture) -> None:
    root = build()

    def blank(data: dict[str, Any]) -> None:
        for entry in data["annotations"][:3]:
            entry["caption"] = " \n"

    edit(root, blank)
    with caplog.at_level(logging.WARNING):
        photos = read_coco(root, SPLITS, {})
    assert photos["test"][0].captions == ("caption 1 of 102",)
    assert len(photos["test"]) == 3
    assert [record.getMessage() for record in caplog.records] == [
        f"{root}: 3 empty captions were left out, and 1 photographs that have no other."
    ]


def test_mini_coco_through_the_configuration(shared: Path, capsys: pytest.CaptureFixture[str]) -> None:
    conf = Path(__file__).parents[2] / "conf"
    overrides = [
        "+data=coco",
        f"data.root={shared / 'coco_mini'}",
        "data.splits={train: train2017}",
        "data.holdout={val: 10, test: 10}",
    ]
    with initialize_config_dir(str(conf), version_base="1.3"):
        photos = instantiate(compose(overrides=overrides).data.source)
    assert {split: len(found) for split, found in photos.splits.items()} == {"train": 60, "val": 10, "test": 10}
    coco = COCO(shared / "coco_mini" / "captions_train2017.json")
    capsys.readouterr()
    for photo in photos:
        assert sorted(photo.captions) == sorted(entry["caption"].strip() for entry in coco.imgToAnns[photo.id])
        assert photo.path.name == coco.imgs[photo.id]["file_name"]
