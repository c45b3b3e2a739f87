"""Karpathy's split files."""

import json
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate

from captioning.core.errors import CaptioningError
from captioning.data import read_karpathy


def entry(number: int, split: str, **more: object) -> dict[str, Any]:
    sentences = [{"raw": f"Caption {i} of {number}.", "tokens": ["caption"], "sentid": 5 * number + i} for i in (0, 1)]
    return {"split": split, "filename": f"{number}.jpg", "imgid": number, "sentences": sentences, **more}


def write(root: Path, name: str, images: list[dict[str, Any]], folder: str = "") -> Path:
    for image in images:
        path = root / folder / image.get("filepath", "") / image["filename"]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    path = root / f"dataset_{name}.json"
    path.write_text(json.dumps({"dataset": name, "images": images}))
    return path


def coco(number: int, split: str, part: str) -> dict[str, Any]:
    return entry(number, split, filepath=part, cocoid=1000 + number)


COCO = [
    coco(1, "train", "train2014"),
    coco(2, "restval", "val2014"),
    coco(3, "val", "val2014"),
    coco(4, "test", "val2014"),
]
FLICKR = [entry(1, "train"), entry(2, "train"), entry(3, "val"), entry(4, "test")]


def test_coco(tmp_path: Path) -> None:
    photos = read_karpathy(write(tmp_path, "coco", COCO), tmp_path)
    assert photos.name == "coco"
    assert {split: [photo.id for photo in found] for split, found in photos.splits.items()} == {
        "train": [1001, 1002],
        "val": [1003],
        "test": [1004],
    }
    assert photos["train"][1].path == tmp_path / "val2014" / "2.jpg"
    assert photos["train"][1].captions == ("Caption 0 of 2.", "Caption 1 of 2.")


@pytest.mark.parametrize(
    ("config", "name", "folder"),
    [("flickr8k_karpathy", "flickr8k", "images"), ("flickr30k", "flickr30k", "flickr30k-images")],
)
def test_flickr_through_the_configuration(tmp_path: Path, config: str, name: str, folder: str) -> None:
    write(tmp_path, name, FLICKR, folder)
    with initialize_config_dir(str(Path(__file__).parents[2] / "conf"), version_base="1.3"):
        photos = instantiate(compose(overrides=[f"+data={config}", f"data.root={tmp_path}"]).data.source)
    assert [photo.id for photo in photos] == ["1.jpg", "2.jpg", "3.jpg", "4.jpg"]
    assert photos["test"][0].path == tmp_path / folder / "4.jpg"


@pytest.mark.parametrize(
    ("dataset", "message"),
    [
        ({"images": []}, "not one of Karpathy's split files"),
        ([], "not one of Karpathy's split files"),
        (
            {"dataset": "coco", "images": [entry(1, "training")]},
            "not in the form of Karpathy's .*'training'",
        ),
        ({"dataset": "flickr8k", "images": FLICKR[:3]}, "the split 'test' has no photographs"),
        ({"dataset": "flickr8k", "images": [*FLICKR, FLICKR[0]]}, "1 photographs are listed twice .*1.jpg"),
        ({"dataset": "flickr8k", "images": FLICKR}, "4 annotated pictures are missing: .*/1.jpg"),
    ],
)
def test_bad_files(tmp_path: Path, dataset: object, message: str) -> None:
    path = tmp_path / "dataset.json"
    path.write_text(json.dumps(dataset))
    with pytest.raises(CaptioningError, match=message):
        read_karpathy(path, tmp_path / "images")


def test_missing_and_broken_file(tmp_path: Path) -> None:
    with pytest.raises(CaptioningError, match=r"dataset.json: there is no such file. Unpack it from https"):
        read_karpathy(tmp_path / "dataset.json", tmp_path)
    (tmp_path / "dataset.json").write_text('{"dataset": "coco",\n"images": [')
    with pytest.raises(CaptioningError, match=r"not valid JSON \(line 2"):
        read_karpathy(tmp_path / "dataset.json", tmp_path)


def test_sentences_of_other_types(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Null and NaN, which tables write for no text, are empty captions; a number or a list is a sentence."""
    images = [entry(number, split, cocoid=float(number)) for number, split in ((1, "Train "), (2, "val"), (3, "test"))]
    images[0]["sentences"] += [{"raw": None}, {"raw": float("nan")}]
    photos = read_karpathy(write(tmp_path, "coco", images), tmp_path)
    assert photos["train"][0].id == 1 and len(photos["train"][0].captions) == 2
    assert "2 empty captions were left out" in caplog.text
    for raw in (7, ["a", "dog"], {}, True):
        images[1]["sentences"][1]["raw"] = raw
        with pytest.raises(CaptioningError, match=r"image 1, 2\.jpg: sentence 1: raw is .* and no text"):
            read_karpathy(write(tmp_path, "coco", images), tmp_path)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"split": None}, "its split is None, not one of train"),
        ({"split": "foo"}, "its split is 'foo'"),
        ({"filename": 5}, "its filename is no text"),
        ({"cocoid": [1]}, r"its cocoid is \[1\], neither a number nor a text"),
        ({"sentences": None}, "its sentences are no list"),
        ({"sentences": ["a dog"]}, "sentence 0 has no 'raw'"),
        ({"sentences": [{"tokens": ["a", "dog"]}]}, "sentence 0 has no 'raw'"),
    ],
)
def test_what_is_unlike_karpathy_s_form_is_said_in_words(tmp_path: Path, change: dict[str, object], said: str) -> None:
    images = [{**entry(1, "train"), **change}, entry(2, "val"), entry(3, "test")]
    with pytest.raises(CaptioningError, match=rf"image 0, .*: {said}") as caught:
        path = tmp_path / "dataset.json"
        path.write_text(json.dumps({"dataset": "coco", "images": images}))
        read_karpathy(path, tmp_path)
    assert "Error" not in str(caught.value)


def test_paths_of_windows_and_other_names_of_splits(tmp_path: Path) -> None:
    images = [entry(1, "Train"), entry(2, "Validation"), entry(3, "test")]
    path = write(tmp_path, "coco", images, "pictures")
    path.write_text(path.read_text().replace('"filename": "', '"filename": "pictures\\\\'))
    photos = read_karpathy(path, tmp_path)
    assert photos["val"][0].path == tmp_path / "pictures" / "2.jpg"
    assert photos["val"][0].id == "pictures\\2.jpg"
