"""Your own photographs, from CSV and JSON lines."""

import csv
import io
import json
import logging
import os
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from captioning.core.errors import CaptioningError
from captioning.data import read_own
from captioning.data.assemble import assemble, hold_out
from captioning.data.photos import Photo

Row = tuple[str, str, str | None]
ROWS: list[Row] = [
    ("a.jpg", 'A dog, "Rex"', "train"),
    ("sub/b.png", "two cats\nin two lines", "validation"),
    ("a.jpg", "a brown dog", "train"),
    ("c.jpg", "ein Bär", "test"),
]


def write(path: Path, rows: list[Row], split: bool = True) -> Path:
    path.parent.mkdir(exist_ok=True)
    if path.suffix == ".jsonl":
        entries = [
            {"image": image, "caption": caption} | ({"split": part} if split else {}) for image, caption, part in rows
        ]
        path.write_text("\n".join(json.dumps(entry) for entry in entries), encoding="utf-8")
    else:
        text = io.StringIO(newline="")
        writer = csv.writer(text)
        writer.writerow(["image", "caption", "split"][: 2 + split])
        writer.writerows(row[: 2 + split] for row in rows)
        path.write_bytes(text.getvalue().encode("utf-8-sig"))
    for image, _, _ in rows:
        (path.parent / image).parent.mkdir(exist_ok=True)
        (path.parent / image).touch()
    return path


@pytest.fixture(params=["captions.jsonl", "captions.csv"])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return tmp_path / "photos" / str(request.param)


def test_file_and_folder(path: Path) -> None:
    write(path, ROWS)
    photos = read_own(path)
    assert read_own(path.parent) == photos
    assert {split: [photo.id for photo in found] for split, found in photos.splits.items()} == {
        "train": ["a.jpg"],
        "val": ["sub/b.png"],
        "test": ["c.jpg"],
    }
    assert photos["train"][0].captions == ('A dog, "Rex"', "a brown dog")
    assert photos["val"][0].captions == ("two cats\nin two lines",)
    assert photos["test"][0].captions == ("ein Bär",)
    assert photos["val"][0].path == path.parent / "sub" / "b.png"


@pytest.mark.parametrize("column", [True, False])
def test_without_splits_they_are_drawn_by_photograph(
    path: Path, column: bool, caplog: pytest.LogCaptureFixture
) -> None:
    write(path, [(f"{n % 30}.jpg", f"caption {n}", None) for n in range(60)], split=column)
    with caplog.at_level(logging.WARNING):
        photos = read_own(path)
    assert [record.getMessage() for record in caplog.records] == [
        f"{path}: it names no splits; 24 photographs are for training, 3 each for validation and test, "
        "drawn with seed 0."
    ]
    assert {split: len(found) for split, found in photos.splits.items()} == {"train": 24, "val": 3, "test": 3}
    assert all(len(photo.captions) == 2 for photo in photos)
    assert len({photo.id for photo in photos}) == 30
    assert read_own(path) == photos
    assert read_own(path, seed=1) != photos


@given(st.integers(1, 60), st.integers(0, 30), st.integers(0, 30), st.integers(0, 5))
def test_held_out_splits_part_the_photographs(count: int, val: int, test: int, seed: int) -> None:
    photos = [Photo(number, Path(f"{number}.jpg"), ("x",)) for number in range(count)]
    if val + test >= count:
        with pytest.raises(CaptioningError):
            hold_out(photos, {"val": val, "test": test}, seed, "here")
        return
    train, held = hold_out(photos, {"val": val, "test": test}, seed, "here")
    assert (len(held["val"]), len(held["test"])) == (val, test)
    assert sorted([*train, *held["val"], *held["test"]], key=lambda photo: photo.id) == photos


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([("a.jpg", "x", "train"), ("b.jpg", "x", "training")], "line {2}: 'training' is not a split"),
        ([("a.jpg", "x", "train"), ("a.jpg", "x", "test")], "line {2}: a.jpg is in the splits 'train' and 'test'"),
        ([("a.jpg", "x", "train"), ("b.jpg", "x", None)], "b.jpg has no split, while others have one"),
        ([("a.jpg", "  ", "train"), ("b.jpg", "x", "val")], "the split 'train' has no photographs"),
        ([("a.jpg", "x", None), ("b.jpg", "x", None)], "can't be held out of 2 photographs"),
        ([], "there is no photograph in this file"),
    ],
)
def test_bad_rows(path: Path, rows: list[Row], message: str) -> None:
    write(path, rows)
    line = 2 if path.suffix == ".jsonl" else 3
    with pytest.raises(CaptioningError, match=message.replace("{2}", str(line))):
        read_own(path)


def test_missing_picture(path: Path) -> None:
    write(path, ROWS)
    (path.parent / "c.jpg").unlink()
    with pytest.raises(CaptioningError, match=r"1 annotated picture is missing: .*c\.jpg"):
        read_own(path)


@pytest.mark.parametrize("name", ["a" * 300 + ".jpg", "b" * 300 + "/a.jpg", "c\\" * 3000 + "a.jpg"])
def test_a_name_too_long_for_this_system_is_a_missing_picture(path: Path, name: str) -> None:
    write(path, ROWS)
    written = json.dumps(name)[1:-1] if path.suffix == ".jsonl" else name
    path.write_text(path.read_text("utf-8").replace("c.jpg", written), "utf-8")
    with pytest.raises(CaptioningError, match=r"1 annotated picture is missing"):
        read_own(path)


def test_pipes_and_links_to_nothing_are_no_pictures(path: Path) -> None:
    write(path, ROWS)
    (path.parent / "c.jpg").unlink()
    for make in (
        os.mkfifo,
        lambda picture: picture.symlink_to("/dev/zero"),
        lambda picture: picture.symlink_to("gone"),
    ):
        make(path.parent / "c.jpg")
        with pytest.raises(CaptioningError, match=r"1 annotated picture is no regular files .*c\.jpg"):
            read_own(path)
        (path.parent / "c.jpg").unlink()


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        (
            "x.jsonl",
            '{"image": "a.jpg", "caption": "x"}\n\n{"image": "b.jpg", "capt',
            "x.jsonl, line 3: this is not JSON",
        ),
        ("x.jsonl", '{"image": "a.jpg"}', "x.jsonl, line 1: expected an object with the texts image, caption"),
        ("x.jsonl", "[1]", "x.jsonl, line 1: expected an object"),
        ("x.csv", "image,text\na.jpg,x", "x.csv, line 1: the header must name the columns image, caption"),
        ("x.csv", "image,caption\na.jpg,x\nb.jpg,a dog, two cats", "x.csv, line 3: 2 fields are expected"),
        ("x.csv", "image,caption\na.jpg,x\nb.jpg", "x.csv, line 3: 2 fields are expected"),
        ("x.csv", 'image,caption\na.jpg,x\nb.jpg,"x" y', "x.csv, line 3: this is not CSV"),
        ("x.csv", "", "x.csv, line 1: the header must name"),
    ],
)
def test_broken_lines_are_named(tmp_path: Path, name: str, text: str, message: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(CaptioningError, match=message):
        read_own(tmp_path)


def test_no_table_or_two(path: Path) -> None:
    with pytest.raises(CaptioningError, match=r"there is no \.jsonl or \.csv file"):
        read_own(path.parent)
    write(path, ROWS)
    (path.parent / "other.csv").touch()
    with pytest.raises(CaptioningError, match="several tables are here: captions"):
        read_own(path.parent)


@pytest.mark.parametrize(
    ("caption", "said"),
    [
        ("a \ud83d cat", r"has half of a surrogate pair, which is no character \('a \\ud83d cat'\)"),
        ("cat" * 4000, "has 12,000 characters; up to 10,000 are a caption here"),
    ],
)
def test_a_caption_that_can_not_be_one_is_a_sentence_at_the_beginning(caption: str, said: str) -> None:
    photo = Photo("7", Path("7.jpg"), ("a dog", caption))
    with pytest.raises(CaptioningError, match=rf"captions: a caption of 7 {said}\. Correct it"):
        assemble("own", {"train": [photo]}, "captions")


def test_one_photograph_under_two_forms_of_its_name_is_one(path: Path) -> None:
    forms = [unicodedata.normalize(form, "é.jpg") for form in ("NFC", "NFD")]
    rows = [
        (forms[0], "one", "train"),
        (forms[1], "more", "train"),
        ("b.jpg", "two", "val"),
        ("c.jpg", "three", "test"),
    ]
    write(path, rows)
    (path.parent / forms[1]).unlink()
    (photo,) = read_own(path)["train"]
    assert photo.id == forms[0] and photo.captions == ("one", "more")
    write(path, [*rows[1:], (forms[0], "one", "test")])
    with pytest.raises(CaptioningError, match="is in the splits 'train' and 'test'"):
        read_own(path)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("C:\\photos\\a.jpg", "paths of another system"),
        ("C:/photos/a.jpg", "paths of another system"),
        ("\\\\server\\share\\a.jpg", "Fetch them, or correct the folder"),
        ("https://example.org/a.jpg", "addresses: fetch the pictures"),
    ],
)
def test_names_that_are_no_paths_here_have_a_remedy_of_their_own(path: Path, name: str, said: str) -> None:
    rows: list[Row] = [("a.jpg", "one", "train"), ("b.jpg", "two", "val"), ("c.jpg", "three", "test")]
    write(path, rows)
    path.write_text(path.read_text().replace("a.jpg", name.replace("\\", "\\\\") if path.suffix == ".jsonl" else name))
    with pytest.raises(CaptioningError, match=f"1 annotated picture is missing: .*{said}"):
        read_own(path)
