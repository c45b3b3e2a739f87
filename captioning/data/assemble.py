"""The conversion of a reader's photographs to the common form of data, with the checks that all readers share."""

import logging
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from captioning.core.errors import CaptioningError
from captioning.core.texts import fault_of
from captioning.data.photos import CaptionedPhotos, Photo

log = logging.getLogger(__name__)


def assemble(name: str, splits: Mapping[str, Iterable[Photo]], where: object) -> CaptionedPhotos:
    """Put photographs together, split by split, and check them.

    Empty captions, and photographs without any other caption, are left out, and so are photographs without any caption.
    One warning for each kind states the count.

    Args:
        name: the data set's name.
        splits: the photographs of each split that the data set should have.
        where: the file or folder that was read, for error messages.

    Raises:
        CaptioningError: an id occurs twice, a split is empty, or pictures are missing.
    """
    found = {split: list(photos) for split, photos in splits.items()}
    _refuse_duplicates(found, where)
    kept = _drop_empty(found, where)
    for split, photos in kept.items():
        if not photos:
            raise CaptioningError(
                f"{where}: the split {split!r} has no photographs with captions. "
                "Check the files that name its photographs and their captions."
            )
    return CaptionedPhotos(name, kept).require_files()


def hold_out(
    photos: Sequence[Photo], parts: Mapping[str, float], seed: int, where: object
) -> tuple[list[Photo], dict[str, list[Photo]]]:
    """Carve splits out of photographs by a seeded shuffle.

    Args:
        photos: all photographs.
        parts: the size of each split: a count, or a fraction if below 1.
        seed: the shuffle's seed; equal seeds give equal splits.
        where: the file or folder that was read, for the error message.

    Returns:
        The photographs that remain, and the splits; each in the order of ``photos``.

    Raises:
        CaptioningError: no photograph would remain.
    """
    counts = {split: round(size * len(photos)) if size < 1 else int(size) for split, size in parts.items()}
    if any(size < 0 or not math.isfinite(size) for size in parts.values()) or sum(counts.values()) >= len(photos):
        raise CaptioningError(
            f"{where}: {dict(parts)} can't be held out of {len(photos)} photographs: none would remain for training. "
            "Hold out fewer, or add photographs."
        )
    order = np.random.Generator(np.random.PCG64(seed)).permutation(len(photos)).tolist()
    held: dict[str, list[Photo]] = {}
    for split, count in counts.items():
        held[split] = [photos[index] for index in sorted(order[:count])]
        del order[:count]
    return [photos[index] for index in sorted(order)], held


def find_first(root: Path, names: Sequence[str], remedy: str) -> Path:
    """The first of several files or folders in ``root`` that exists.

    Raises:
        CaptioningError: none exists.
    """
    if not root.is_dir():
        raise CaptioningError(f"{root}: there is no such folder. {remedy}")
    for name in names:
        if (root / name).exists():
            return root / name
    raise CaptioningError(f"{root}: there is no {' or '.join(names)} in it. {remedy}")


def _refuse_duplicates(splits: Mapping[str, Sequence[Photo]], where: object) -> None:
    counts = Counter(photo.id for photos in splits.values() for photo in photos)
    twice = [str(photo_id) for photo_id, count in counts.items() if count > 1]
    if twice:
        raise CaptioningError(
            f"{where}: {len(twice)} photographs are listed twice (in one split or in two): {first_ten(twice)}. "
            "Keep each in one place."
        )


def _drop_empty(splits: Mapping[str, Sequence[Photo]], where: object) -> dict[str, list[Photo]]:
    empty, silent, bare = 0, 0, list[str]()
    kept: dict[str, list[Photo]] = {}
    for split, photos in splits.items():
        kept[split] = []
        for photo in photos:
            _require_texts(photo, where)
            captions = tuple(caption.strip() for caption in photo.captions if caption.strip())
            empty += len(photo.captions) - len(captions)
            silent += not captions and bool(photo.captions)
            bare += [] if photo.captions else [str(photo.id)]
            if captions:
                kept[split].append(replace(photo, captions=captions))
    if bare:
        log.warning(
            "%s: %d of %d photographs have no caption and are left out: %s. Is the file of captions whole?",
            *(where, len(bare), sum(map(len, splits.values())), first_ten(bare)),
        )
    if empty or silent:
        log.warning("%s: %d empty captions were left out, and %d photographs that have no other.", where, empty, silent)
    return kept


def _require_texts(photo: Photo, where: object) -> None:
    wrong: list[object] = [caption for caption in photo.captions if not isinstance(caption, str)]
    if wrong:
        raise CaptioningError(f"{where}: a caption of {photo.id} is {wrong[0]!r:.40} and no text. Correct it.")
    fault = next((fault for caption in photo.captions if (fault := fault_of(caption))), None)
    if fault:
        raise CaptioningError(f"{where}: a caption of {photo.id} {fault}. Correct it.")


def first_ten(names: Sequence[str]) -> str:
    """The first ten names, joined for a message."""
    return ", ".join(names[:10]) + (", …" if len(names) > 10 else "")
