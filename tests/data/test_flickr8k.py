"""Flickr8k as distributed, both forms of its captions."""

import logging
import unicodedata
from pathlib import Path

import pytest

from captioning.core.errors import CaptioningError
from captioning.data import CaptionedPhotos, read_flickr8k
from captioning.data.flickr8k import CAPTIONS

NAMES = ["a.jpg", "b.jpg", "c.jpg", "d.jpg"]


@pytest.fixture(params=CAPTIONS)
def root(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    if request.param == "captions.txt":
        lines = ["image,caption"] + [f'{name},"a dog , {i} ""x"""' for name in NAMES for i in range(2)]
    else:
        lines = [f'{name}#{i}\ta dog , {i} "x"' for name in NAMES for i in range(2)]
    (tmp_path / request.param).write_text("\n".join(lines) + "\n")
    for split, names in (("train", NAMES[:2]), ("dev", NAMES[2:3]), ("test", NAMES[3:])):
        (tmp_path / f"Flickr_8k.{split}Images.txt").write_text("\n".join(names))
    (tmp_path / "Flicker8k_Dataset").mkdir()
    for name in NAMES:
        (tmp_path / "Flicker8k_Dataset" / name).touch()
    return tmp_path


def test_small(root: Path) -> None:
    photos = read_flickr8k(root)
    assert {split: [photo.id for photo in found] for split, found in photos.splits.items()} == {
        "train": ["a.jpg", "b.jpg"],
        "val": ["c.jpg"],
        "test": ["d.jpg"],
    }
    assert photos["val"][0].captions == ('a dog , 0 "x"', 'a dog , 1 "x"')
    assert photos["val"][0].path == root / "Flicker8k_Dataset" / "c.jpg"


def test_a_listed_picture_that_is_missing(root: Path) -> None:
    (root / "Flicker8k_Dataset" / "b.jpg").unlink()
    with pytest.raises(CaptioningError, match=r"1 annotated picture is missing: .*b\.jpg"):
        read_flickr8k(root)


@pytest.mark.parametrize("name", ["Flickr_8k.devImages.txt", "Flicker8k_Dataset"])
def test_something_missing(root: Path, name: str) -> None:
    (root / name).rename(root / "elsewhere")
    with pytest.raises(CaptioningError, match=rf"there is no .*{name}.* in it. Ask for Flickr8k"):
        read_flickr8k(root)


def test_no_folder(tmp_path: Path) -> None:
    with pytest.raises(CaptioningError, match="nowhere: there is no such folder"):
        read_flickr8k(tmp_path / "nowhere")


def test_an_empty_list(root: Path) -> None:
    (root / "Flickr_8k.testImages.txt").write_text("\n")
    with pytest.raises(CaptioningError, match="the split 'test' has no photographs"):
        read_flickr8k(root)


def test_a_bad_line_is_named(root: Path) -> None:
    path = next(path for path in root.iterdir() if path.name in CAPTIONS)
    lines = path.read_text().splitlines()
    lines[3] = "no caption here"
    path.write_text("\n".join(lines))
    with pytest.raises(CaptioningError, match=rf"{path.name}, line 4: .*expected"):
        read_flickr8k(root)


def test_no_utf8_is_named_with_its_line(root: Path) -> None:
    path = next(path for path in root.iterdir() if path.name in CAPTIONS)
    lines = path.read_bytes().splitlines()
    lines[4] = lines[4].replace(b"dog", b"caf\xe9")
    path.write_bytes(b"\n".join(lines))
    with pytest.raises(CaptioningError, match=r"line 5: this is not UTF-8"):
        read_flickr8k(root)


def test_the_real_files(shared: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    source = shared / "flickr8k"
    from_csv = read_flickr8k(source)
    assert not caplog.records
    assert {split: len(found) for split, found in from_csv.splits.items()} == {"train": 6000, "val": 1000, "test": 1000}
    assert all(len(photo.captions) == 5 for photo in from_csv)
    for path in source.iterdir():
        if path.name != "captions.txt":
            (tmp_path / path.name).symlink_to(path)
    with caplog.at_level(logging.WARNING):
        from_tokens = read_flickr8k(tmp_path)
    assert [record.getMessage() for record in caplog.records] == [
        f"{tmp_path / 'Flickr8k.token.txt'}: 5 captions of pictures that do not exist "
        "(2258277193_586949ec62.jpg.1) were left out."
    ]
    assert words(from_tokens) == words(from_csv)


def words(photos: CaptionedPhotos) -> dict[object, list[str]]:
    """The captions' letters: the two distributions differ in blanks and quotation marks alone."""
    return {photo.id: sorted("".join(filter(str.isalnum, caption)) for caption in photo.captions) for photo in photos}


def test_names_are_compared_in_one_form(root: Path) -> None:
    """Lists with folders, backslashes, blanks and accents in another form; U+2028 in a caption breaks no line."""
    accented, table = "é.jpg", next(path for path in root.iterdir() if path.name in CAPTIONS)
    (root / "Flicker8k_Dataset" / "a.jpg").rename(root / "Flicker8k_Dataset" / accented)
    text = table.read_text().replace("a.jpg", unicodedata.normalize("NFD", accented)).replace("a dog", "a\u2028dog")
    table.write_text(text.replace("b.jpg", "Images\\b.jpg").replace("c.jpg", " c.jpg"))
    (root / "Flickr_8k.trainImages.txt").write_text(f"Images/{accented}\r\n b.jpg \r\n")
    photos = read_flickr8k(root)
    assert [(photo.id, len(photo.captions)) for photo in photos] == [
        (accented, 2), ("b.jpg", 2), ("c.jpg", 2), ("d.jpg", 2),
    ]  # fmt: skip
    assert photos["train"][0].captions[0].startswith("a\u2028dog")


def test_half_a_file_of_captions_is_said(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    (path,) = [path for path in root.iterdir() if path.name in ("captions.txt", "Flickr8k.token.txt")]
    path.write_text("".join(line for line in path.read_text().splitlines(keepends=True) if "b.jpg" not in line))
    assert [photo.id for photo in read_flickr8k(root)["train"]] == ["a.jpg"]
    said = "1 of 4 photographs have no caption and are left out: b.jpg. Is the file of captions whole?"
    assert said in caplog.text
