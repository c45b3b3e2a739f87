"""Karpathy's splits of COCO, Flickr8k and Flickr30k: Karpathy and Fei-Fei, arXiv 1412.2306."""

import os
from pathlib import Path
from typing import Any

from captioning.core.errors import CaptioningError
from captioning.core.files import read_json
from captioning.core.ids import heading, image_id
from captioning.data.assemble import assemble
from captioning.data.photos import CaptionedPhotos, Photo

SPLIT_NAMES = {"train": "train", "restval": "train", "val": "val", "test": "test"}
ZIP = "https://cs.stanford.edu/people/karpathy/deepimagesent/caption_datasets.zip"


def read_karpathy(file: str | os.PathLike[str], images: str | os.PathLike[str]) -> CaptionedPhotos:
    """Read ``dataset_coco.json``, ``dataset_flickr8k.json`` or ``dataset_flickr30k.json``.

    ``restval``, the rest of COCO's validation set, is added to ``train``, as in all published work.

    Args:
        file: the JSON file.
        images: the folder of the photographs; for COCO the parent folder of ``train2014`` and ``val2014``.

    Returns:
        Photographs with COCO's numbers as ids, or file names for the Flickr sets.

    Raises:
        CaptioningError: the file is missing, not JSON or in another format, or images are missing.
    """
    file, folder = Path(file), Path(images)
    if not file.is_file():
        raise CaptioningError(
            f"{file}: there is no such file. Unpack it from {ZIP}, or set data.file to it. "
            "Kaggle's distributions, which lack it, are read by data=own data.root=FOLDER."
        )
    dataset = read_json(file, "Karpathy's split file")
    images_of = dataset.get("images") if isinstance(dataset, dict) else None
    if not isinstance(images_of, list) or not isinstance(dataset.get("dataset"), str):
        raise CaptioningError(
            f"{file}: this is not one of Karpathy's split files, for it holds no 'dataset' and list of 'images'. "
            f"They are in {ZIP}."
        )
    splits: dict[str, list[Photo]] = {"train": [], "val": [], "test": []}
    for place, image in enumerate(images_of):
        try:
            splits[SPLIT_NAMES[heading(image["split"])]].append(_photo(image, folder))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            name = image.get("filename") if isinstance(image, dict) else None
            raise CaptioningError(
                f"{file}: this is not one of Karpathy's split files (image {place}{f', {name}' if name else ''}: "
                f"{type(error).__name__}: {error}). They are in {ZIP}."
            ) from None
    return assemble(dataset["dataset"], splits, file)


def _photo(image: dict[str, Any], folder: Path) -> Photo:
    number = image_id(image.get("cocoid", image["filename"]))
    if number is None:
        raise TypeError("cocoid is no number")
    return Photo(
        id=number,
        path=folder / (image.get("filepath") or "") / image["filename"],
        captions=tuple(_raw(sentence["raw"], place) for place, sentence in enumerate(image["sentences"])),
    )


def _raw(raw: Any, place: int) -> str:
    """The text of a sentence; an empty one for null and NaN, which tables write for no text."""
    if raw is None or raw != raw:
        return ""
    if not isinstance(raw, str):
        raise TypeError(f"sentence {place}: raw is {raw!r:.40} and no text")
    return raw
