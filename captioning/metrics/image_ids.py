"""The ids of very many images: in a temporary file where they are many whole numbers, and texts grouped by them.

Ids in another order than others, and texts of one image that are not side by side, take some 30 bytes each while they
are put in order.

Dimensions: T texts, N images.
"""

from array import array
from collections.abc import Collection, Iterable, Iterator, Sequence
from functools import cached_property

import numpy as np

from captioning.core.ids import ImageId
from captioning.core.spilled import ROWS, Spilled
from captioning.metrics.ngrams import changes, different
from captioning.text.token_numbers import Integers

_AT_ONCE = 1024  # ids as Python's numbers

Numbers = Spilled | range  # of texts, which are fewer than 2 billion; 0, 1, … as a range


class Ids(Collection[ImageId]):
    """The different ids of N images, in some order; in a file where they are many whole numbers."""

    def __init__(self, ids: Spilled | Integers | Sequence[ImageId]) -> None:
        """Take ids that differ; numbers in an array if they are whole numbers of 64 bits."""
        self._ids = Spilled.of(ids) if isinstance(ids, np.ndarray) else ids
        self._rows = None if isinstance(self._ids, Spilled) else {image: row for row, image in enumerate(self._ids)}

    @classmethod
    def of(cls, images: Iterable[ImageId]) -> "Ids":
        """Ids, each once, in the order of their first occurrence."""
        column = Column()
        for image in images:
            column.append(image)
        return column.different()

    def same(self, other: "Ids") -> bool:
        """Whether others are the same in the same order."""
        if isinstance(self._ids, Spilled) and isinstance(other._ids, Spilled):
            return self._ids.same(other._ids)
        return type(self._ids) is type(other._ids) and self._ids == other._ids

    def rows_of(self, images: "Ids | Iterable[ImageId]") -> Integers:
        """The row of each of some images here, -1 for an image that is not here."""
        if not (isinstance(images, Ids) and isinstance(images._ids, Spilled) and isinstance(self._ids, Spilled)):
            return np.fromiter(map(self.row_of, images), np.int64)
        rows = np.full(len(images), -1)
        for begin, wanted in images._ids.blocks() if len(self) else ():
            row = np.minimum(np.searchsorted(self._array, wanted, sorter=self._order), len(self) - 1)
            if self._order is not None:
                row = self._order[row]
            rows[begin : begin + len(wanted)] = np.where(self._array[row] == wanted, row, -1)
        return rows

    def row_of(self, image: object) -> int:
        """The row of an image, -1 for an image that is not here."""
        if self._rows is not None:
            return self._rows.get(image, -1) if isinstance(image, int | str) else -1
        if not isinstance(image, int) or not -(1 << 63) <= image < 1 << 63 or not len(self):
            return -1
        row = min(int(np.searchsorted(self._array, image, sorter=self._order)), len(self) - 1)
        if self._order is not None:
            row = int(self._order[row])
        return row if self._array[row] == image else -1

    @cached_property
    def _array(self) -> Integers:
        """``(N,)``: the ids, which are numbers, in memory: where one image or another is asked for."""
        return np.asarray(self._ids)

    @cached_property
    def _order(self) -> Integers | None:
        """``(N,)``: the rows of the ids, which are numbers, from the least to the greatest; None where the ids rise."""
        ids = self._array
        return None if (ids[1:] > ids[:-1]).all() else np.argsort(ids)

    def take(self, rows: Integers) -> "Ids":
        """The ids of some rows."""
        if isinstance(self._ids, Spilled):
            return Ids(self._ids.taken(rows))
        return Ids([self._ids[row] for row in rows.tolist()])

    def __contains__(self, image: object) -> bool:
        """Whether an id is among these."""
        return self.row_of(image) >= 0

    def __iter__(self) -> Iterator[ImageId]:
        """One id after the other."""
        for begin in range(0, len(self), _AT_ONCE):
            part = self._ids[begin : begin + _AT_ONCE]
            yield from part.tolist() if isinstance(part, np.ndarray) else part

    def __len__(self) -> int:
        """The number of ids N."""
        return len(self._ids)


class Column:
    """Ids as they come: numbers, or a list once there is another id.

    Attributes:
        numbers: the ids, if they are whole numbers of 64 bits.
        names: the ids; None while all are such numbers.
    """

    def __init__(self) -> None:
        """Begin without an id."""
        self._numbers, self._last = Spilled(), array("q")
        self.names: list[ImageId] | None = None

    def append(self, image: ImageId) -> None:
        """Add an id."""
        if self.names is None:
            try:
                self._last.append(image)  # type: ignore[arg-type]
            except (TypeError, OverflowError):
                self.names = [*np.asarray(self.numbers).tolist(), image]
            else:
                if len(self._last) == ROWS:
                    self._flush()
        else:
            self.names.append(image)

    def _flush(self) -> None:
        if self._last:
            self._numbers.append(np.array(self._last, np.int64))
            self._last = array("q")

    @property
    def numbers(self) -> Spilled:
        """See above."""
        self._flush()
        return self._numbers

    def different(self) -> Ids:
        """The ids, each once, in the order of their first occurrence."""
        return Ids(grouped(self.numbers)[0] if self.names is None else [*dict.fromkeys(self.names)])


def missing_from(known: Collection[ImageId], images: Collection[ImageId]) -> list[ImageId]:
    """The images that are not among others, in their order."""
    if isinstance(known, Ids) and isinstance(images, Ids):
        return [] if known.same(images) else [*images.take(np.flatnonzero(known.rows_of(images) < 0))]
    return [image for image in images if image not in known]


def grouped(image: Spilled) -> tuple[Spilled, Numbers, Spilled, Spilled]:
    """Texts grouped by image, the images in the order of their first occurrence.

    Args:
        image: ``(T,)``, the image of each text.

    Returns:
        ``(N,)`` the images; ``(T,)`` the places of the texts by image; ``(N,)`` each image's first among these places;
        ``(N,)`` the number of texts of each image.
    """
    first, begin, sizes, rise = Spilled(), Spilled(np.int32), Spilled(np.int32), True
    last, before = None, 0  # the image of the text before the block, and where its texts begin
    for start, block in image.blocks():
        new = changes(block)
        if last is not None:
            new[0] = block[0] != last
            rise &= bool(block[0] >= last)
        rise &= bool((block[1:] >= block[:-1]).all())
        begins = start + np.flatnonzero(new)
        sizes.append(np.diff(begins, prepend=before)[int(last is None) :].astype(np.int32))
        first.append(block[new])
        begin.append(begins.astype(np.int32))
        last, before = block[-1], int(begins[-1]) if len(begins) else before
    if last is not None:
        sizes.append(np.array([len(image) - before], np.int32))
    if rise or len(different(np.asarray(first))) == len(first):  # side by side
        return first, range(len(image)), begin, sizes
    images = np.asarray(image)
    order = np.argsort(images, kind="stable").astype(np.int32)
    images = images[order]
    begins = np.flatnonzero(changes(images)).astype(np.int32)
    counts = np.diff(begins, append=np.int32(len(images)))
    by_first = np.argsort(order[begins])
    begins, counts = begins[by_first], counts[by_first]
    return Spilled.of(images[begins]), Spilled.of(order), Spilled.of(begins), Spilled.of(counts)
