"""Karpathy's splits of COCO, Flickr8k and Flickr30k: Karpathy and Fei-Fei, arXiv 1412.2306."""

import os
from pathlib import Path
from typing import Any

from captioning.core.errors import CaptioningError
from captioning.core.files import read_json
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
        raise CaptioningError(f"{file}: there is no such file. Unpack it from {ZIP}, or set data.file to it.")
    dataset = read_json(file, "Karpathy's split file")
    splits: dict[str, list[Photo]] = {"train": [], "val": [], "test": []}
    try:
        name = str(dataset["dataset"])
        for image in dataset["images"]:
            splits[SPLIT_NAMES[image["split"]]].append(_photo(image, folder))
    except (KeyError, TypeError, AttributeError) as error:
        raise CaptioningError(
            f"{file}: this is not one of Karpathy's split files ({type(error).__name__}: {error}). They are in {ZIP}."
        ) from None
    return assemble(name, splits, file)


def _photo(image: dict[str, Any], folder: Path) -> Photo:
    return Photo(
        id=image.get("cocoid", image["filename"]),
        path=folder / image.get("filepath", "") / image["filename"],
        captions=tuple(sentence["raw"] for sentence in image["sentences"]),
    )
