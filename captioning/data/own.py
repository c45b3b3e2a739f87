"""Your own photographs: a JSON-lines or CSV file with the columns image, caption and, if you like, split.

Flickr8k and Flickr30k as Kaggle has them are read, too: ``captions.txt`` or ``results.csv`` beside a folder of images.
"""

import logging
import os
from pathlib import Path

from captioning.core.errors import CaptioningError
from captioning.core.ids import key
from captioning.data.assemble import assemble, hold_out
from captioning.data.photos import CaptionedPhotos, Photo
from captioning.data.tables import read_csv, read_jsonl, split_name

log = logging.getLogger(__name__)

READERS = {".jsonl": read_jsonl, ".csv": read_csv, ".tsv": read_csv, ".txt": read_csv}
TABLES = ({".jsonl", ".csv"}, {".tsv", ".txt"})  # looked for in a folder, one set after the other
SPLIT_NAMES = {"train": "train", "val": "val", "valid": "val", "validation": "val", "dev": "val", "test": "test"}
BESIDE = ("images", "Images", "flickr30k_images", "flickr30k-images", "Flicker8k_Dataset", "Flickr8k_Dataset")


def read_own(root: str | os.PathLike[str], seed: int = 0) -> CaptionedPhotos:
    """Read your own data: one row per caption, with as many rows per photograph as the photograph has captions.

    ``image`` is a path, absolute or relative to the file's folder (or to a folder ``images`` and the like beside the
    file, see ``BESIDE``, if the first photograph is there). ``split`` is train, val or test; if no row has a
    split, a seeded shuffle splits the photographs 80/10/10.

    Args:
        root: the ``.jsonl``, ``.csv``, ``.tsv`` or ``.txt`` file, or a folder with one such file.
        seed: the shuffle's seed.

    Returns:
        Photographs whose ids are the paths as written in the file.

    Raises:
        CaptioningError: the file is missing, a line can't be read, a photograph is in two splits or in none, or
            pictures are missing.
    """
    path = _find_table(Path(root))
    captions: dict[str, list[str]] = {}
    split_of: dict[str, str] = {}
    forms: dict[str, str] = {}  # a photograph may be named with accents in two forms of Unicode
    for line, row in READERS[path.suffix.lower()](path, ("image", "caption")):
        if not row["image"].strip():
            raise CaptioningError(f"{path}, line {line}: there is a caption and no image. Name its file.")
        image = _path_of(row["image"].strip(), path.parent)
        image = forms.setdefault(key(image), image)
        captions.setdefault(image, []).append(row["caption"])
        if row.get("split") and str(row["split"]).strip():
            split = split_name(row["split"], SPLIT_NAMES)
            if split is None:
                raise CaptioningError(f"{path}, line {line}: {row['split']!r} is not a split. Say train, val or test.")
            if split_of.setdefault(image, split) != split:
                raise CaptioningError(
                    f"{path}, line {line}: {image} is in the splits {split_of[image]!r} and {split!r}. Choose one."
                )
    folder = _folder_of(path, next(iter(captions), ""))
    photos = [Photo(image, folder / image, tuple(texts)) for image, texts in captions.items()]
    if not photos:
        raise CaptioningError(f"{path}: there is no photograph in this file. Write one row for each caption.")
    if not split_of:
        return assemble("own", _split(photos, seed, path), path)
    without = next((image for image in captions if image not in split_of), None)
    if without is not None:
        raise CaptioningError(
            f"{path}: {without} has no split, while others have one. Give each photograph a split, or none of them."
        )
    splits = [split for split in ("train", "val", "test") if split in split_of.values()]
    return assemble(
        "own", {split: [photo for photo in photos if split_of[str(photo.id)] == split] for split in splits}, path
    )


def _split(photos: list[Photo], seed: int, path: Path) -> dict[str, list[Photo]]:
    tenth = max(1, round(len(photos) / 10))
    train, held = hold_out(photos, {"val": tenth, "test": tenth}, seed, path)
    log.warning(
        "%s: it names no splits; %d photographs are for training, %d each for validation and test, drawn with seed %d.",
        path,
        len(train),
        tenth,
        seed,
    )
    return {"train": train, **held}


def _path_of(image: str, folder: Path) -> str:
    """An image's path as this system writes it: a table of Windows has backslashes."""
    if "\\" in image and not os.path.exists(folder / image):  # noqa: PTH110  # a name may be too long for Path.exists
        image = image.replace("\\", "/")
    return os.path.normpath(image)


def _folder_of(table: Path, first: str) -> Path:
    """The folder that images' paths begin in: the table's, or one of ``BESIDE``, by the first image."""
    places = [table.parent / name for name in BESIDE]
    places += [place / place.name for place in places]  # Kaggle's archive of Flickr30k
    if not os.path.exists(table.parent / first):  # noqa: PTH110
        for place in places:
            if os.path.exists(place / first):  # noqa: PTH110
                log.info("%s: its photographs are in %s.", table, place)
                return place
    return table.parent


def _find_table(root: Path) -> Path:
    if root.is_file() and root.suffix.lower() in READERS:
        return root
    for suffixes in TABLES:
        tables = sorted(path for path in root.glob("*") if path.suffix.lower() in suffixes and path.is_file())
        if len(tables) == 1:
            return tables[0]
        if tables:
            names = ", ".join(path.name for path in tables)
            raise CaptioningError(f"{root}: several tables are here: {names}. Set data.root to the one that is meant.")
    raise CaptioningError(
        f"{root}: there is no .jsonl or .csv file with the columns image, caption and split. "
        "Set data.root to one, or to a folder with one in it."
    )
