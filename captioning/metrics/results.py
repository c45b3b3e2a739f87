"""Captions on disk: results files in the COCO server's format, and annotations files with the references."""

import os
from collections import Counter
from collections.abc import Collection, Iterable
from typing import Any

from captioning.core.errors import CaptioningError
from captioning.core.files import read_json

ImageId = int | str


def read_results(path: str | os.PathLike[str]) -> dict[ImageId, str]:
    """Read a results file: ``[{"image_id": 391895, "caption": "a man on a bike"}, …]``.

    Raises:
        CaptioningError: the file has another format, or an image occurs twice; the message names the first ten, with a
            count.
    """
    entries = read_json(path, "results file")
    if not isinstance(entries, list):
        raise CaptioningError(f'{path}: a results file is a list of {{"image_id": …, "caption": …}}; this is not one.')
    wrong = [entry for entry in entries if not _is_caption(entry)]
    if wrong:
        raise CaptioningError(
            f"{path}: {len(wrong)} entries have no image_id (a number or a string) or no caption (a string): "
            f"{_first(wrong)}. Correct them."
        )
    twice = [image for image, count in Counter(entry["image_id"] for entry in entries).items() if count > 1]
    if twice:
        raise CaptioningError(
            f"{path}: {len(twice)} images have more than one caption: {_first(twice)}. Keep one of each."
        )
    return {entry["image_id"]: entry["caption"] for entry in entries}


def check_results(
    path: str | os.PathLike[str], results: Collection[ImageId], known: Collection[ImageId], subset: bool = False
) -> None:
    """Check, as the COCO server does, that every image of the split has a caption and no other image has one.

    Args:
        path: the results file, for the error message.
        results: the captioned images.
        known: the images of the split.
        subset: True if captions of a part of the images suffice.

    Raises:
        CaptioningError: images are unknown or missing; the message names the first ten, with a count.
    """
    unknown = [image for image in results if image not in known]
    if unknown:
        raise CaptioningError(
            f"{path}: {len(unknown)} of {len(results)} images are not in the references: {_first(unknown)}. "
            "Score against the references of the split that was captioned."
        )
    missing = [image for image in known if image not in results]
    if missing and not subset:
        raise CaptioningError(
            f"{path}: {len(missing)} of {len(known)} images have no caption: {_first(missing)}. Caption them all, or "
            "say --subset to score the others alone (scores of a subset do not compare with those of the split)."
        )


def read_references(path: str | os.PathLike[str]) -> dict[ImageId, list[str]]:
    """Read annotations in COCO's format: the captions of each image, in the file's order.

    Raises:
        CaptioningError: the file has another format, or an image has no caption.
    """
    content = read_json(path, "annotations file")
    annotations = content.get("annotations") if isinstance(content, dict) else None
    if not isinstance(annotations, list) or not annotations or not all(map(_is_caption, annotations)):
        raise CaptioningError(
            f"{path}: these are no caption annotations in COCO's format: a list called annotations, each with an "
            "image_id and a caption. Give a file such as captions_val2017.json."
        )
    references: dict[ImageId, list[str]] = {}
    for annotation in annotations:
        references.setdefault(annotation["image_id"], []).append(annotation["caption"])
    images = content.get("images", [])
    without = [image["id"] for image in images if isinstance(image, dict) and image.get("id") not in references]
    if without:
        raise CaptioningError(f"{path}: {len(without)} images have no reference: {_first(without)}. Leave them out.")
    return references


def _is_caption(entry: Any) -> bool:
    if not isinstance(entry, dict) or not isinstance(entry.get("caption"), str):
        return False
    return isinstance(entry.get("image_id"), int | str) and not isinstance(entry["image_id"], bool)


def _first(items: Iterable[Any]) -> str:
    shown = [repr(item) if len(repr(item)) <= 80 else repr(item)[:79] + "…" for item in items]
    return ", ".join(shown[:10]) + (", …" if len(shown) > 10 else "")
