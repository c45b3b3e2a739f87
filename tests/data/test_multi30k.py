"""Multi30k's task 2: captions of one language for the photographs that are there."""

import gzip
import logging
from pathlib import Path

import pytest

from captioning.core.errors import CaptioningError
from captioning.data import read_multi30k

NUMBERS = {"train": ["11", "12", "13"], "val": ["21", "22"], "test_2016": ["31"]}


def write(folder: Path, suffix: str = "") -> None:
    """Both languages of all splits: the caption 2 of the photograph 11 is ``Hund Ä 2 von 11``."""
    folder.mkdir(parents=True, exist_ok=True)
    for split, numbers in NUMBERS.items():
        (folder / f"{split}_images.txt").write_text("".join(f"{number}.jpg\n" for number in numbers))
        for language, dog in (("de", "Hund Ä"), ("en", "dog\u2028")):
            for place in range(1, 6):
                lines = "".join(f"{dog} {place} von {number}\n" for number in numbers)
                content = lines.encode()
                (folder / f"{split}.{place}.{language}{suffix}").write_bytes(
                    gzip.compress(content) if suffix else content
                )


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Flickr8k's names and Flickr30k's, one of each number; 13 and 22 are missing."""
    (tmp_path / "images").mkdir()
    for name in ("11_ab.jpg", "12.jpg", "12_cd.jpg", "21_x_y.JPG", "31.jpg", "99_z.jpg", "13_a.txt"):
        (tmp_path / "images" / name).touch()
    return tmp_path / "images"


@pytest.mark.parametrize(("place", "suffix"), [(".", ""), ("task2", ""), ("data/task2/raw", ".gz")])
def test_photographs_that_are_there(
    place: str, suffix: str, images: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(tmp_path / place, suffix)
    if suffix:  # as in the repository
        (tmp_path / "data/task2/image_splits").mkdir()
        for path in (tmp_path / place).glob("*.txt"):
            path.rename(tmp_path / "data/task2/image_splits" / path.name)
    with caplog.at_level(logging.WARNING):
        photos = read_multi30k(tmp_path, images)
    assert {split: [photo.id for photo in members] for split, members in photos.splits.items()} == {
        "train": ["11_ab.jpg", "12.jpg"],
        "val": ["21_x_y.JPG"],
        "test": ["31.jpg"],
    }
    assert photos["train"][1].captions == tuple(f"Hund Ä {n} von 12" for n in range(1, 6))
    assert photos["train"][1].path == images / "12.jpg"
    said = f"{images}: 2 of Multi30k's 6 photographs are not here and are left out, with their captions."
    assert caplog.messages == [said]
    english = read_multi30k(tmp_path, images, "en")["test"][0].captions
    assert english == tuple(f"dog\u2028 {n} von 31" for n in range(1, 6))  # U+2028 ends no line


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (
            "val.3.de",
            r"there is no val\.3\.de or val\.3\.de\.gz here, nor in task2, .*Clone https://github\.com/multi30k",
        ),
        ("val_images.txt", r"there is no val_images\.txt"),
        ("images", r"images: there is no such folder\. Set data\.images"),
    ],
)
def test_something_missing(name: str, said: str, images: Path, tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / name).rename(tmp_path / "elsewhere")
    with pytest.raises(CaptioningError, match=said):
        read_multi30k(tmp_path, images)


def test_what_does_not_fit(images: Path, tmp_path: Path) -> None:
    write(tmp_path)
    with pytest.raises(CaptioningError, match=r"data\.language=fr: Multi30k's task 2 has de and en"):
        read_multi30k(tmp_path, images, "fr")
    with pytest.raises(CaptioningError, match=r"nowhere: there is no such folder\. Clone"):
        read_multi30k(tmp_path / "nowhere", images)
    with pytest.raises(CaptioningError, match="none of Multi30k's photographs is here"):
        read_multi30k(tmp_path, tmp_path)
    (tmp_path / "train.4.de").write_text("Ein Hund\n")
    with pytest.raises(CaptioningError, match=r"train\.4\.de: 1 captions for the 3 photographs"):
        read_multi30k(tmp_path, images)
    (tmp_path / "train.4.de").rename(tmp_path / "train.4.de.gz")
    with pytest.raises(CaptioningError, match=r"train\.4\.de\.gz: this is no whole file of gzip"):
        read_multi30k(tmp_path, images)


def test_the_real_captions_of_flickr8k_s_photographs(shared: Path) -> None:
    photos = read_multi30k(shared / "sequences" / "multi30k", shared / "flickr8k" / "images")
    assert {split: len(members) for split, members in photos.splits.items()} == {"train": 6993, "val": 242, "test": 243}
    first = photos["test"][0]
    assert (first.id, len(first.captions)) == ("1007129816_e794419615.jpg", 5)
    assert first.captions[0] == "Der Mann trägt eine orange Wollmütze."
