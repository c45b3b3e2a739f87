"""Flickr8k as distributed: Hodosh, Young and Hockenmaier, "Framing Image Description as a Ranking Task" (2013)."""

import logging
import os
from collections.abc import Iterator
from pathlib import Path

from captioning.core.errors import CaptioningError
from captioning.core.ids import key
from captioning.core.texts import lines_of, read_text
from captioning.data.assemble import assemble, find_first, first_ten, hold_out
from captioning.data.photos import CaptionedPhotos, Photo
from captioning.data.tables import read_csv

log = logging.getLogger(__name__)

LISTS = {
    "train": "Flickr_8k.trainImages.txt",
    "val": "Flickr_8k.devImages.txt",
    "test": "Flickr_8k.testImages.txt",
}
CAPTIONS = ("captions.txt", "Flickr8k.token.txt")
PICTURES = ("images", "Images", "Flicker8k_Dataset", "Flickr8k_Dataset")  # "Flicker" is the spelling of the archive
REMEDY = (
    "Ask for Flickr8k at its authors' site (University of Illinois), unpack photographs and texts into one folder, and "
    "set data.root to it."
)


def read_flickr8k(root: str | os.PathLike[str]) -> CaptionedPhotos:
    """Read Flickr8k: 6,000 photographs for training, 1,000 each for validation and test.

    The folder holds ``captions.txt`` (CSV with the columns image and caption) or ``Flickr8k.token.txt``, the three
    lists ``Flickr_8k.{train,dev,test}Images.txt``, and the photographs. Captions of pictures that neither exist nor are
    in a list are left out (the token file has five, of ``2258277193_586949ec62.jpg.1``). One warning states their
    count.

    Kaggle distributes Flickr8k without the lists. Such a folder is split by a shuffle, which a warning says.

    Args:
        root: the data set's folder.

    Returns:
        Photographs with their file names as ids.

    Raises:
        CaptioningError: a file or folder is missing, a line can't be read, a split is empty, or a list names
            pictures that do not exist.
    """
    root = Path(root)
    source = find_first(root, CAPTIONS, REMEDY)
    pictures = find_first(root, PICTURES, REMEDY)
    if not any((root / name).exists() for name in LISTS.values()):
        return _without_lists(root, source, pictures)
    lists = {split: _read_list(find_first(root, (name,), REMEDY)) for split, name in LISTS.items()}
    listed = {name for names in lists.values() for name in names}
    there = _names_in(pictures)

    captions: dict[str, list[str]] = {}
    lost: list[str] = []
    for name, caption in _read_captions(source):
        if name in there or name in listed:
            captions.setdefault(name, []).append(caption)
        else:
            lost.append(name)
    if lost:
        log.warning(
            "%s: %d captions of pictures that do not exist (%s) were left out.",
            source,
            len(lost),
            first_ten(list(dict.fromkeys(lost))),
        )
    return assemble(
        "flickr8k",
        {
            split: [Photo(name, pictures / name, tuple(captions.get(name, ()))) for name in names]
            for split, names in lists.items()
        },
        root,
    )


def _without_lists(root: Path, source: Path, pictures: Path) -> CaptionedPhotos:
    """The photographs split at random, 1,000 each for validation and test, or a tenth of fewer than 8,000."""
    captions: dict[str, list[str]] = {}
    for name, caption in _read_captions(source):
        captions.setdefault(name, []).append(caption)
    there = _names_in(pictures)
    photos = [Photo(name, pictures / name, tuple(texts)) for name, texts in captions.items() if name in there]
    size = 1000 if len(photos) >= 8000 else max(1, round(len(photos) / 10))
    train, held = hold_out(photos, {"val": size, "test": size}, 0, root)
    log.warning(
        "%s: the lists of the splits (%s) are not here, as in Kaggle's distribution. %d photographs are for training, "
        "%d each for validation and test, drawn at random: scores do not compare with published ones. %d captions are "
        "of pictures that do not exist. The lists are in Flickr8k_text.zip of the authors.",
        *(root, ", ".join(LISTS.values()), len(train), size),
        sum(len(texts) for name, texts in captions.items() if name not in there),
    )
    return assemble("flickr8k", {"train": train, **held}, root)


def _read_list(path: Path) -> list[str]:
    return [_name(line) for line in lines_of(read_text(path)) if line.strip()]


def _name(written: str) -> str:
    """A picture's name as tables and lists have it, for comparison: without blanks and folders, in one form of Unicode.

    Lists of other people name ``Images/1.jpg``, with the slashes of either system.
    """
    return key(written).replace("\\", "/").rpartition("/")[2]


def _names_in(folder: Path) -> set[str]:
    return {_name(entry.name) for entry in folder.iterdir()}


def _read_captions(path: Path) -> Iterator[tuple[str, str]]:
    """The file names and captions of the CSV, or of lines ``name.jpg#0<tab>caption``."""
    if path.name == "captions.txt":
        yield from ((_name(row["image"]), row["caption"]) for _, row in read_csv(path, ("image", "caption")))
        return
    for number, line in enumerate(lines_of(read_text(path)), start=1):
        place, tab, caption = line.partition("\t")
        name, mark, _ = place.rpartition("#")
        if line.strip():
            if not tab or not mark:
                raise CaptioningError(f"{path}, line {number}: expected 'picture.jpg#0', a tab and a caption.")
            yield _name(name), caption
