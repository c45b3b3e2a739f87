"""Karpathy's splits of COCO, Flickr8k and Flickr30k: Karpathy and Fei-Fei, arXiv 1412.2306."""

import os
from pathlib import Path
from typing import Any

from captioning.core.errors import CaptioningError
from captioning.core.files import read_json
from captioning.core.ids import heading, image_id
from captioning.data.assemble import assemble
from captioning.data.photos import CaptionedPhotos, Photo

SPLIT_NAMES = {"train": "train", "restval": "train", "val": "val", "validation": "val", "dev": "val", "test": "test"}
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
            split, photo = _photo(image, folder)
        except _UnlikeError as unlike:
            name = image.get("filename") if isinstance(image, dict) else None
            raise CaptioningError(
                f"{file}: this is not in the form of Karpathy's split files (image {place}"
                f"{f', {name!s:.80}' if name else ''}: {unlike}). Correct it; theirs are in {ZIP}."
            ) from None
        splits[split].append(photo)
    return assemble(dataset["dataset"], splits, file)


class _UnlikeError(Exception):
    """An entry that is not as in Karpathy's files; the message says what is."""


def _photo(image: Any, folder: Path) -> tuple[str, Photo]:
    """The split and the photograph of an entry."""
    if not isinstance(image, dict):
        raise _UnlikeError("no object with 'filename', 'split' and 'sentences'")
    split = SPLIT_NAMES.get(heading(image.get("split")))
    if split is None:
        raise _UnlikeError(f"its split is {image.get('split')!r:.40}, not one of {', '.join(SPLIT_NAMES)}")
    name, above = image.get("filename"), image.get("filepath") or ""
    if not isinstance(name, str) or not name or not isinstance(above, str):
        raise _UnlikeError("its filename is no text")
    number = image_id(image.get("cocoid", name))
    if number is None:
        raise _UnlikeError(f"its cocoid is {image['cocoid']!r:.40}, neither a number nor a text")
    sentences = image.get("sentences")
    if not isinstance(sentences, list):
        raise _UnlikeError("its sentences are no list")
    captions = tuple(_raw(sentence, place) for place, sentence in enumerate(sentences))
    return split, Photo(id=number, path=folder / above / name, captions=captions)


def _raw(sentence: Any, place: int) -> str:
    """The text of a sentence; an empty one for null and NaN, which tables write for no text."""
    if not isinstance(sentence, dict) or "raw" not in sentence:
        raise _UnlikeError(f"sentence {place} has no 'raw'")
    raw = sentence["raw"]
    if raw is None or raw != raw:
        return ""
    if not isinstance(raw, str):
        raise _UnlikeError(f"sentence {place}: raw is {raw!r:.40} and no text")
    return raw
