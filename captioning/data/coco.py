"""COCO captions as distributed (2014 and 2017), or any data in the same format."""

import io
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pycocotools.coco import COCO

from captioning.core.errors import CaptioningError
from captioning.core.files import read_json
from captioning.core.ids import image_id, translation
from captioning.data.assemble import assemble, find_first, first_ten, hold_out
from captioning.data.photos import CaptionedPhotos, Photo

SPLITS_2017 = MappingProxyType({"train": "train2017", "test": "val2017"})
HOLDOUT = MappingProxyType({"val": 5000})
REMEDY = (
    "Fetch COCO with 'captioning prepare data=coco', or say where it is (data.root) and which sets it has "
    "(data.splits)."
)


def read_coco(
    root: str | os.PathLike[str],
    splits: Mapping[str, str | None] = SPLITS_2017,
    holdout: Mapping[str, float | None] = HOLDOUT,
    seed: int = 0,
    name: str = "coco",
) -> CaptionedPhotos:
    """Read captions in COCO's format.

    The captions of the set ``train2017`` are in ``captions_train2017.json``, in ``root`` or ``root/annotations``; its
    images are in ``root/train2017`` or ``root/images/train2017``.

    Args:
        root: the data set's folder.
        splits: the set that each split is read from. The captions of COCO's own test set are not public; the usual
            choice is a test on COCO's validation set.
        holdout: splits to carve out of ``train`` by a seeded shuffle instead: a count, or a fraction if below 1; 0 or
            None carves nothing. A split named here is not read from a set.
        seed: the shuffle's seed.
        name: the data set's name.

    Raises:
        CaptioningError: a file or folder is missing, the JSON is broken or holds no captions, annotations name a
            missing image, an id occurs twice, or a split is empty.
    """
    root = Path(root)
    carved = {split: size for split, size in holdout.items() if size}
    photos = {split: _read_set(root, part) for split, part in splits.items() if part and split not in carved}
    if carved:
        if "train" not in photos:
            raise CaptioningError(f"{root}: {carved} can't be held out, for data.splits names no set for 'train'.")
        photos["train"], held = hold_out(photos["train"], carved, seed, root)
        photos |= held
    return assemble(name, photos, root)


def load_captions(path: str | os.PathLike[str]) -> COCO:
    """Open a COCO captions file and check it.

    Raises:
        CaptioningError: the file is missing, is not JSON, holds no captions, lists an image twice, or has captions of
            images missing from its list.
    """
    dataset = read_json(path, "COCO captions file")
    if not isinstance(dataset, dict) or not all(
        isinstance(dataset.get(key), list) for key in ("images", "annotations")
    ):
        raise CaptioningError(
            f"{path}: a COCO captions file holds the lists 'images' and 'annotations'; this does not."
        )
    _check_entries(path, dataset["images"], ("id",), {"file_name": str}, "images")
    _check_entries(path, dataset["annotations"], ("id", "image_id"), {"caption": str}, "annotations")
    known = {image["id"] for image in dataset["images"]}
    stands_for = translation({entry["image_id"]: None for entry in dataset["annotations"]}, known)
    for entry in dataset["annotations"]:
        entry["image_id"] = stands_for.get(entry["image_id"], entry["image_id"])
    lost = [str(entry["image_id"]) for entry in dataset["annotations"] if entry["image_id"] not in known]
    if lost:
        raise CaptioningError(
            f"{path}: {len(lost)} captions are of images that the file does not list, with the ids {first_ten(lost)}. "
            "The file may have been cut: fetch it again."
        )
    coco = COCO()
    coco.dataset = dataset
    with redirect_stdout(io.StringIO()):  # pycocotools prints its progress
        coco.createIndex()
    return coco


def _read_set(root: Path, part: str) -> list[Photo]:
    captions = f"captions_{part}.json"
    annotations = find_first(root, (captions, f"annotations/{captions}"), REMEDY)
    pictures = find_first(root, (part, f"images/{part}"), REMEDY)
    coco = load_captions(annotations)
    return [
        Photo(number, pictures / image["file_name"], tuple(entry["caption"] for entry in coco.imgToAnns[number]))
        for number, image in coco.imgs.items()
    ]


def _check_entries(
    path: str | os.PathLike[str], entries: list[Any], ids: tuple[str, ...], keys: dict[str, type], what: str
) -> None:
    """Check the entries of a list, and make their ids numbers or texts, see ``captioning.core.ids``."""
    for place, entry in enumerate(entries):
        values = entry if isinstance(entry, dict) else {}
        found = {key: image_id(values.get(key)) for key in ids}
        lacking = [key for key, value in found.items() if value is None]
        lacking += [key for key, kind in keys.items() if not isinstance(values.get(key), kind)]
        for key in (key for key in lacking if values.get(key) is not None):
            kinds = "text" if key in keys else "whole number and no text"
            raise CaptioningError(f"{path}: entry {place} of {what!r}: {key!r} is {values[key]!r:.100}, no {kinds}.")
        if lacking:
            hint = " Is it a captions_*.json, not instances or key points?" if "caption" in lacking else ""
            raise CaptioningError(f"{path}: entry {place} of {what!r} has no {', '.join(map(repr, lacking))}.{hint}")
        entry.update(found)
    twice = [str(number) for number, count in Counter(entry["id"] for entry in entries).items() if count > 1]
    if twice:
        raise CaptioningError(
            f"{path}: {len(twice)} ids occur twice in {what!r}: {first_ten(twice)}. Give each entry its own id."
        )


def annotations_of(photos: Sequence[Photo]) -> dict[str, Any]:
    """Photographs and their captions as COCO annotations, the inverse of reading.

    Args:
        photos: photographs with ids of any kind; file names stay as they are.
    """
    captions = ((photo.id, caption) for photo in photos for caption in photo.captions)
    return {
        "images": [{"id": photo.id, "file_name": photo.path.name} for photo in photos],
        "annotations": [
            {"id": number, "image_id": image, "caption": caption} for number, (image, caption) in enumerate(captions)
        ],
    }
