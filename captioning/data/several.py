"""Several data sets as one: photographs of one beside the clips of another, or two sets of photographs."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from captioning.core.build import call
from captioning.core.errors import CaptioningError
from captioning.data.photos import SPLITS, CaptionedPhotos


def read_several(sources: Mapping[str, Mapping[str, Any]]) -> CaptionedPhotos:
    """Read data sets, each by its own reader, and put their splits together.

    Args:
        sources: the reader of each data set (``_target_``) and its settings, by a name of your choice.

    Returns:
        The photographs of all, in the order of the sources. An id is that of the source behind the source's name,
        ``photographs/1.jpg``.

    Raises:
        CaptioningError: there is no source, or one can't be read.
    """
    if not sources:
        raise CaptioningError("data=several: there is no data set in data.sources. Name one or more readers.")
    read = {name: call(source, CaptionedPhotos) for name, source in sources.items()}
    splits = {
        split: [
            replace(photo, id=f"{name}/{photo.id}")
            for name, found in read.items()
            for photo in found.splits.get(split, ())
        ]
        for split in SPLITS
    }
    return CaptionedPhotos("several", splits)
