"""Captions on disk: results files in the COCO server's format, and annotations files with the references."""

import logging
import os
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, TextIO, TypeVar

import numpy as np

from captioning.core.errors import CaptioningError
from captioning.core.files import read_json
from captioning.core.ids import ImageId, image_id, translation
from captioning.core.json_stream import NotStreamed, stream_members
from captioning.core.texts import fault_of, open_text
from captioning.metrics.entries import captions_of, gather_entries, trouble
from captioning.metrics.image_ids import Column, Ids, missing_from
from captioning.metrics.packed import ImageCaptions, OneCaption

log = logging.getLogger(__name__)

Captions = TypeVar("Captions", ImageCaptions, OneCaption)


def read_results(path: str | os.PathLike[str]) -> OneCaption:
    """Read a results file: ``[{"image_id": 391895, "caption": "a man on a bike"}, …]``, see ``read_entries``.

    Keys beside these are ignored, a list of one caption is one, and repetitions of an image's caption are dropped with
    a warning (the last batch of a distributed run has some).

    Raises:
        CaptioningError: the file has another format, or an image has several captions; the message names the first ten,
            with a count.
    """
    found = read_sets(path)
    repeated, several = 0, list[ImageId]()
    for image in found.ids.take(found.sets.several()):
        if len(set(found[image])) > 1:
            several.append(image)
        else:
            repeated += 1
    if repeated:
        log.warning("%s: %d images are there several times, each with one caption.", path, repeated)
    if several:
        raise CaptioningError(
            f"{path}: {len(several)} images have more than one caption: {_first(several)}. Keep one of each; "
            "`captioning score --sets` scores sets of captions."
        )
    silent = [row for row, caption in enumerate(found.sets.first) if not caption.strip()]
    if silent:
        images = [*found.ids.take(np.array(silent))]
        log.warning("%s: %d of %d captions are empty, and score 0: %s.", path, len(silent), len(found), _first(images))
    return OneCaption(found)


def read_sets(path: str | os.PathLike[str]) -> ImageCaptions:
    """Read a results file with one or more captions of each image, best first, in entries of the same image or in
    lists: ``[{"image_id": 391895, "captions": ["a man on a bike", "a man rides"]}, …]``.

    Raises:
        CaptioningError: the file has another format; the message names the first ten entries, with a count.
    """
    return gather_entries(path, partial(_sets_of, path))


def _sets_of(path: str | os.PathLike[str], entries: Iterable[Any]) -> ImageCaptions:
    wrong: dict[str, list[Any]] = {}
    faults: list[CaptioningError] = []

    def good() -> Iterator[tuple[ImageId, str]]:
        for entry in entries:
            image = image_id(entry.get("image_id")) if isinstance(entry, dict) else None
            reason = trouble(entry, image)
            if reason:
                wrong.setdefault(reason, []).append(entry)
            elif image is not None:
                for caption in captions_of(entry) or ():
                    if not faults:
                        faults.extend(_faults(path, image, caption))
                    yield image, caption

    found = ImageCaptions.gather(good())
    if wrong:
        reason, odd = max(wrong.items(), key=lambda each: len(each[1]))
        raise CaptioningError(f"{path}: {len(odd)} entries {reason}: {_first(odd)}. Correct them.")
    for fault in faults:
        raise fault
    return found


def with_ids_of(path: str | os.PathLike[str], results: Captions, known: Collection[ImageId]) -> Captions:
    """Results with the references' ids in place of ids of another type or form, such as ``"1"`` for 1.

    One warning states the count. Ids that stand for no known id stay as they are.

    Args:
        path: the results file, for messages.
        results: the caption of each image.
        known: the images of the references.

    Raises:
        CaptioningError: two ids stand for one image.
    """
    if isinstance(results, OneCaption):
        return OneCaption(_renamed(path, results.all, known, "the references"))
    return _renamed(path, results, known, "the references")


def _renamed(path: str | os.PathLike[str], given: ImageCaptions, known: Collection[ImageId], of: str) -> ImageCaptions:
    stands_for = translation(given, known) if missing_from(known, given.ids) else {}
    if not stands_for:
        return given
    first, meant = next(iter(stands_for.items()))
    log.warning(
        "%s: %d of %d image ids are taken as ids of another type in %s, such as %s as %s.",
        *(path, len(stands_for), len(given), of, _typed(first), _typed(meant)),
    )
    _refuse_twice(path, [stands_for.get(image, image) for image in given])
    return given.renamed(stands_for)


def _refuse_twice(path: str | os.PathLike[str], images: Iterable[ImageId]) -> None:
    twice = [image for image, count in Counter(images).items() if count > 1]
    if twice:
        raise CaptioningError(
            f"{path}: {len(twice)} images have more than one caption: {_first(twice)}. Keep one of each."
        )


def _typed(image: ImageId) -> str:
    return f"the text {image!r}" if isinstance(image, str) else f"the number {image}"


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
    unknown = missing_from(known, results)
    if unknown:
        raise CaptioningError(
            f"{path}: {len(unknown)} of {len(results)} images are not in the references: {_first(unknown)}. "
            "Score against the references of the split that was captioned."
        )
    missing = missing_from(results, known)
    if missing and not subset:
        raise CaptioningError(
            f"{path}: {len(missing)} of {len(known)} images have no caption: {_first(missing)}. Caption them all, or "
            "say --subset to score the others alone (scores of a subset do not compare with those of the split)."
        )


def read_references(path: str | os.PathLike[str], left_out: list[ImageId] | None = None) -> ImageCaptions:
    """Read annotations in COCO's format: the captions of each image, in the order of the file's list of images.

    Args:
        path: the annotations file.
        left_out: a list that takes the ids of images without a caption; None if every image must have one.

    Raises:
        CaptioningError: the file has another format, or an image has no caption and ``left_out`` is None.
    """
    found, images = _annotations(path)
    references = _renamed(path, found, images, "its list of images")
    without = missing_from(references.ids, images)
    if without and left_out is None:
        raise CaptioningError(
            f"{path}: {len(without)} images have no reference: {_first(without)}. Leave them out, or say --subset to "
            "score the others alone."
        )
    if left_out is not None:
        left_out += without
    if references.ids.same(images):
        return references
    listed = references.ids.rows_of(images)
    listed = listed[listed >= 0]
    others = np.ones(len(references), np.bool_)
    others[listed] = False
    return references.take(np.concatenate([listed, np.flatnonzero(others)]))


def _annotations(path: str | os.PathLike[str]) -> tuple[ImageCaptions, Ids]:
    """The captions of an annotations file by image, and the ids in its list of images."""
    if Path(path).is_file():  # a pipe can't be read twice
        with suppress(NotStreamed), open_text(path, "annotations file") as file:
            return _streamed(file)
    content = read_json(path, "annotations file")
    annotations = content.get("annotations") if isinstance(content, dict) else None
    if not isinstance(annotations, list) or not annotations or not all(map(_is_caption, annotations)):
        raise CaptioningError(
            f"{path}: these are no caption annotations in COCO's format: a list called annotations, each with an "
            "image_id and a caption. Give a file such as captions_val2017.json."
        )
    for entry in annotations:
        for fault in _faults(path, entry["image_id"], entry["caption"]):
            raise fault
    found = ImageCaptions.gather((_id(each), each["caption"]) for each in annotations)
    return found, Ids.of(_images(path, content.get("images")))


def _streamed(file: TextIO) -> tuple[ImageCaptions, Ids]:
    """The same of a file in which all is well.

    Raises:
        NotStreamed: something is wrong.
    """
    images = Column()

    def captions() -> Iterator[tuple[ImageId, str]]:
        for name, entry in stream_members(file, ("annotations", "images")):
            if name == "annotations" and _is_caption(entry) and not fault_of(entry["caption"]):
                yield _id(entry), entry["caption"]
            elif name == "images" and isinstance(entry, dict) and (image := image_id(entry.get("id"))) is not None:
                images.append(image)
            else:
                raise NotStreamed

    found = ImageCaptions.gather(captions())
    if not len(found):
        raise NotStreamed
    return found, images.different()


def _images(path: str | os.PathLike[str], images: Any) -> list[ImageId]:
    """The ids in an annotations file's list of images, which may be missing."""
    if images is None:
        return []
    ids = [image_id(image.get("id")) if isinstance(image, dict) else None for image in _list(path, images)]
    if None in ids:
        raise CaptioningError(
            f"{path}: entry {ids.index(None)} of 'images' has no id (a number or a string). Correct it."
        )
    return [each for each in ids if each is not None]


def _list(path: str | os.PathLike[str], images: Any) -> list[Any]:
    if not isinstance(images, list):
        raise CaptioningError(f"{path}: 'images' is no list of the images. Correct it, or leave it out.")
    return images


def _is_caption(entry: Any) -> bool:
    if not isinstance(entry, dict) or not isinstance(entry.get("caption"), str):
        return False
    return image_id(entry.get("image_id")) is not None


def _faults(path: str | os.PathLike[str], image: object, caption: str) -> Iterator[CaptioningError]:
    """The error about a caption that can't be scored."""
    if fault := fault_of(caption):
        yield CaptioningError(f"{path}: the caption of image {image!r:.80} {fault}. Correct it.")


def _id(entry: Mapping[str, Any]) -> ImageId:
    """The image of a caption."""
    found = image_id(entry["image_id"])
    assert found is not None
    return found


def _first(items: Iterable[Any]) -> str:
    shown = [repr(item) if len(repr(item)) <= 80 else repr(item)[:79] + "…" for item in items]
    return ", ".join(shown[:10]) + (", …" if len(shown) > 10 else "")
