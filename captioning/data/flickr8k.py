"""Flickr8k as distributed: Hodosh, Young and Hockenmaier, "Framing Image Description as a Ranking Task" (2013)."""

import logging
import os
from collections.abc import Iterator
from pathlib import Path

from captioning.core.errors import CaptioningError
from captioning.core.texts import read_text
from captioning.data.assemble import assemble, find_first, first_ten
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
    lists = {split: _read_list(find_first(root, (name,), REMEDY)) for split, name in LISTS.items()}
    listed = {name for names in lists.values() for name in names}
    there = {entry.name for entry in pictures.iterdir()}

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


def _read_list(path: Path) -> list[str]:
    return [line.strip() for line in read_text(path).splitlines() if line.strip()]


def _read_captions(path: Path) -> Iterator[tuple[str, str]]:
    """The file names and captions of the CSV, or of lines ``name.jpg#0<tab>caption``."""
    if path.name == "captions.txt":
        yield from ((row["image"], row["caption"]) for _, row in read_csv(path, ("image", "caption")))
        return
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        place, tab, caption = line.partition("\t")
        name, mark, _ = place.rpartition("#")
        if line.strip():
            if not tab or not mark:
                raise CaptioningError(f"{path}, line {number}: expected 'picture.jpg#0', a tab and a caption.")
            yield name, caption
