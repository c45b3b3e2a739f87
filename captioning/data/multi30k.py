"""Multi30k's task 2: five captions in English and five in German of each of Flickr30k's photographs.

Elliott, Frank, Sima'an and Specia, "Multi30K: Multilingual English-German Image Descriptions" (2016, arXiv 1605.00459),
section 2.2: the German captions were written by people who saw the photographs and no English caption.
"""

import logging
import os
from pathlib import Path

from captioning.core.errors import CaptioningError
from captioning.core.texts import read_text
from captioning.data.assemble import assemble
from captioning.data.photos import CaptionedPhotos, Photo

log = logging.getLogger(__name__)

LANGUAGES = ("de", "en")
CAPTIONS = 5  # files of captions, a line for each photograph
SPLITS = {"train": "train", "val": "val", "test": "test_2016"}
FOLDERS = (".", "task2", "data/task2/raw", "data/task2/image_splits")  # the last two are those of the repository
PICTURES = (".jpg", ".jpeg", ".png")
REMEDY = "Clone https://github.com/multi30k/dataset, and set data.root to it or to its folder data."


def read_multi30k(
    root: str | os.PathLike[str], images: str | os.PathLike[str], language: str = "de"
) -> CaptionedPhotos:
    """Read the captions of one language, for the photographs that are there.

    The splits are Multi30k's: 29,000 photographs for training, 1,014 for validation, and the 1,000 of ``test_2016`` for
    the test. Multi30k names a photograph by its number at Flickr (``1000268201.jpg``). The number is the part of a
    file's name before the first ``_``, so Flickr8k's photographs (``1000268201_693b08cb0e.jpg``) serve as well: 7,478
    of them are Multi30k's. Photographs that the folder lacks are left out. One warning states their count.

    Args:
        root: the folder of the captions (``train.1.de`` to ``test_2016.5.de``) and of the lists
            (``train_images.txt``), or the repository's folder, or a folder with the folder ``task2``; files may be
            compressed (``.gz``).
        images: the photographs' folder.
        language: ``de`` for German, ``en`` for English.

    Returns:
        Photographs with their file names as ids.

    Raises:
        CaptioningError: a file or folder is missing, a file has too many or too few lines, the language is another, or
            a split has no photograph.
    """
    root, images = Path(root), Path(images)
    if language not in LANGUAGES:
        raise CaptioningError(f"data.language={language}: Multi30k's task 2 has {' and '.join(LANGUAGES)}. Take one.")
    files = _by_number(images)
    splits: dict[str, list[Photo]] = {}
    listed = 0
    for split, name in SPLITS.items():
        names = _lines(_find(root, f"{name}_images.txt"))
        each = [_captions(root, f"{name}.{place}.{language}", names) for place in range(1, CAPTIONS + 1)]
        listed += len(names)
        splits[split] = [
            Photo(files[number], images / files[number], captions)
            for number, captions in zip(map(_number, names), zip(*each, strict=True), strict=True)
            if number in files
        ]
    there = sum(map(len, splits.values()))
    if not there:
        raise CaptioningError(
            f"{images}: none of Multi30k's photographs is here. Their names begin with their number at Flickr, as in "
            "Flickr30k and Flickr8k; set data.images to their folder."
        )
    if there < listed:
        log.warning(
            "%s: %d of Multi30k's %d photographs are not here and are left out, with their captions.",
            images,
            listed - there,
            listed,
        )
    return assemble("multi30k", splits, root)


def _by_number(folder: Path) -> dict[str, str]:
    """The file names of photographs by their number at Flickr; of two with one number the first by name."""
    if not folder.is_dir():
        raise CaptioningError(f"{folder}: there is no such folder. Set data.images to the photographs' folder.")
    names = [entry.name for entry in folder.iterdir() if entry.suffix.lower() in PICTURES]
    return {_number(name): name for name in sorted(names, reverse=True)}


def _number(name: str) -> str:
    return Path(name.strip()).stem.partition("_")[0]


def _captions(root: Path, name: str, photographs: list[str]) -> list[str]:
    """The lines of a file of captions, one for each photograph of a list."""
    path = _find(root, name)
    captions = _lines(path)
    if len(captions) != len(photographs):
        raise CaptioningError(
            f"{path}: {len(captions)} captions for the {len(photographs)} photographs of the list. Fetch both anew."
        )
    return captions


def _find(root: Path, name: str) -> Path:
    if not root.is_dir():
        raise CaptioningError(f"{root}: there is no such folder. {REMEDY}")
    for folder in FOLDERS:
        for path in (root / folder / name, root / folder / f"{name}.gz"):
            if path.is_file():
                return path
    raise CaptioningError(f"{root}: there is no {name} or {name}.gz here, nor in {', '.join(FOLDERS[1:])}. {REMEDY}")


def _lines(path: Path) -> list[str]:
    """The lines of a file; other characters than a line feed end no line."""
    lines = read_text(path).split("\n")
    return lines[:-1] if lines[-1] == "" else lines
