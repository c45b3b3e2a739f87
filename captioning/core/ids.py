"""Names and ids in tables and lists of other people: compared after one normalisation."""

import unicodedata
from collections.abc import Iterable
from typing import Any

ImageId = int | str


def image_id(value: Any) -> ImageId | None:
    """The id of an image as a number or a text: whole floating-point numbers are whole numbers; None for no id."""
    if isinstance(value, bool):
        return None
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if isinstance(value, int | str) else None


def key(value: ImageId) -> str:
    """The form in which ids are compared: ``1``, ``"1"`` and ``" 1 "`` are one id, and so are "é" and "e" + accent."""
    return unicodedata.normalize("NFC", str(value).strip())


def translation(given: Iterable[ImageId], known: Iterable[ImageId]) -> dict[ImageId, ImageId]:
    """The known id that each given id stands for, among those that are not known as they are.

    Args:
        given: the ids of a file.
        known: the ids that they are compared with.

    Returns:
        Known ids by given ids of another type or form; empty if two known ids have the same form.
    """
    ids = dict.fromkeys(known)
    missing = [each for each in given if each not in ids]
    if not missing:
        return {}
    by_key = {key(each): each for each in ids}
    if len(by_key) < len(ids):
        return {}
    return {each: by_key[key(each)] for each in missing if key(each) in by_key}


def heading(text: Any) -> str:
    """The name of a column or a split without blanks around it, in lower case: ``" Image"`` is ``"image"``."""
    return unicodedata.normalize("NFC", str(text)).strip().casefold()
