"""The captions of very many images, packed: some 60 bytes a caption, where strings in lists and dictionaries take 300.

What is more than 250,000 captions is in a temporary file.

Dimensions: T texts, N images.
"""

from array import array
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from io import BufferedRandom
from itertools import accumulate
from pathlib import Path
from tempfile import TemporaryFile, gettempdir
from typing import overload

import numpy as np
from numpy.typing import NDArray

from captioning.core.files import write_error
from captioning.core.ids import ImageId
from captioning.metrics.ngrams import changes
from captioning.text.token_numbers import Integers, spans

_BITS = 10  # of a text's place in its block
_BLOCK = 1 << _BITS
_HELD = 256  # blocks in memory, 14 MB of captions
_ENCODING = ("utf-8", "surrogatepass")

Places = NDArray[np.int32]  # of texts, which are fewer than 2 billion


class Texts:
    """Texts in blocks of bytes, which grow without a copy: the first ones in memory, the others in a file."""

    def __init__(self, held: int = _HELD) -> None:
        """Begin without a text.

        Args:
            held: the number of blocks that are kept in memory.
        """
        self._held = held
        self._blocks: list[bytes] = []
        self._ends: list[array[int]] = []
        self._last: list[str] = []
        self._starts = array("q", [0])  # of the blocks in the file
        self._read = (-1, b"")  # the block of the file that was read last

    def append(self, text: str) -> None:
        """Add a text.

        Raises:
            CaptioningError: the temporary file can't be written.
        """
        self._last.append(text)
        if len(self._last) < _BLOCK:
            return
        parts = [each.encode(*_ENCODING) for each in self._last]
        self._ends.append(array("i", accumulate(map(len, parts), initial=0)))
        self._last = []
        if len(self._blocks) < self._held:
            self._blocks.append(b"".join(parts))
            return
        try:
            self._file.seek(self._starts[-1])
            self._starts.append(self._starts[-1] + self._file.write(b"".join(parts)))
        except OSError as error:
            raise write_error(Path(gettempdir()), error) from error

    def __len__(self) -> int:
        """The number of texts."""
        return len(self._ends) * _BLOCK + len(self._last)

    def __getitem__(self, place: int) -> str:
        """The text of a place, 0 or more."""
        block = place >> _BITS
        within = place & (_BLOCK - 1)
        if block == len(self._ends):
            return self._last[within]
        ends = self._ends[block]
        return self._block(block)[ends[within] : ends[within + 1]].decode(*_ENCODING)

    def _block(self, block: int) -> bytes:
        """The texts of a block."""
        if block < len(self._blocks):
            return self._blocks[block]
        if self._read[0] != block:
            begin, end = self._starts[block - len(self._blocks) : block - len(self._blocks) + 2]
            self._file.seek(begin)
            self._read = block, self._file.read(end - begin)
        return self._read[1]

    @cached_property
    def _file(self) -> BufferedRandom:
        return TemporaryFile()


class Chosen(Sequence[str]):
    """Some texts in some order."""

    def __init__(self, texts: Texts, places: Places) -> None:
        """Take the texts, and ``(T,)`` their places."""
        self._texts, self._places = texts, places

    def __len__(self) -> int:
        """The number of texts."""
        return len(self._places)

    @overload
    def __getitem__(self, place: int) -> str: ...

    @overload
    def __getitem__(self, place: slice) -> list[str]: ...

    def __getitem__(self, place: int | slice) -> str | list[str]:
        """A text, or the texts of a slice."""
        found = self._places[place].tolist()
        return [*map(self._texts.__getitem__, found)] if isinstance(place, slice) else self._texts[found]

    def __iter__(self) -> Iterator[str]:
        """One text after the other."""
        for begin in range(0, len(self), _BLOCK):
            yield from self[begin : begin + _BLOCK]


class Sets(Sequence[list[str]]):
    """The captions of each of N images.

    Attributes:
        flat: all captions, those of one image after the other.
        sizes: ``(N,)``, the number of captions of each image.
    """

    def __init__(self, texts: Texts, places: Places, begin: Places, sizes: Places) -> None:
        """Take the captions.

        Args:
            texts: the texts.
            places: the texts' places, those of an image side by side.
            begin: ``(N,)``, where each image's captions begin among ``places``.
            sizes: see above.
        """
        self._texts, self._places, self._begin, self.sizes = texts, places, begin, sizes

    @property
    def flat(self) -> Chosen:
        """All captions."""
        ends = np.cumsum(self.sizes)
        if len(ends) and ends[-1] == len(self._places) and np.array_equal(ends - self.sizes, self._begin):
            return Chosen(self._texts, self._places)  # one image after the other already
        return Chosen(self._texts, self._places[spans(self._begin.astype(np.int64), self.sizes.astype(np.int64))])

    @property
    def first(self) -> Chosen:
        """The first caption of each image."""
        return Chosen(self._texts, self._places[self._begin])

    def take(self, images: Integers | slice) -> "Sets":
        """The captions of some images by their numbers."""
        return Sets(self._texts, self._places, self._begin[images], self.sizes[images])

    def __len__(self) -> int:
        """The number of images N."""
        return len(self.sizes)

    @overload
    def __getitem__(self, place: int) -> list[str]: ...

    @overload
    def __getitem__(self, place: slice) -> "Sets": ...

    def __getitem__(self, place: int | slice) -> "list[str] | Sets":
        """The captions of an image, or those of the images of a slice."""
        if isinstance(place, slice):
            return self.take(place)
        begin = int(self._begin[place])
        return [*map(self._texts.__getitem__, self._places[begin : begin + int(self.sizes[place])].tolist())]


class Ids(Collection[ImageId]):
    """The different ids of N images, in some order: 8 bytes an id where all are whole numbers that rise, else 16."""

    def __init__(self, ids: Integers | Sequence[ImageId]) -> None:
        """Take ids that differ; an array if they are whole numbers of 64 bits."""
        self._ids = ids
        self._rows = None if isinstance(ids, np.ndarray) else {image: row for row, image in enumerate(ids)}

    @classmethod
    def of(cls, images: Iterable[ImageId]) -> "Ids":
        """Ids, each once, in the order of their first occurrence."""
        column = Column()
        for image in images:
            column.append(image)
        return column.different()

    def rows_of(self, images: "Ids | Iterable[ImageId]") -> Integers:
        """The row of each of some images here, -1 for an image that is not here."""
        if isinstance(images, Ids) and isinstance(images._ids, np.ndarray) and isinstance(self._ids, np.ndarray):
            if not len(self._ids):
                return np.full(len(images), -1)
            row = np.minimum(np.searchsorted(self._ids, images._ids, sorter=self._order), len(self._ids) - 1)
            if self._order is not None:
                row = self._order[row]
            row[self._ids[row] != images._ids] = -1
            return row
        return np.fromiter(map(self.row_of, images), np.int64)

    def row_of(self, image: object) -> int:
        """The row of an image, -1 for an image that is not here."""
        if self._rows is not None:
            return self._rows.get(image, -1) if isinstance(image, int | str) else -1
        if not isinstance(image, int) or not -(1 << 63) <= image < 1 << 63 or not len(self):
            return -1
        row = min(int(np.searchsorted(self._ids, image, sorter=self._order)), len(self) - 1)
        if self._order is not None:
            row = int(self._order[row])
        return row if self._ids[row] == image else -1

    @cached_property
    def _order(self) -> Integers | None:
        """``(N,)``: the rows of the ids, which are numbers, from the least to the greatest; None where the ids rise."""
        ids = np.asarray(self._ids)
        return None if (ids[1:] > ids[:-1]).all() else np.argsort(ids)

    def take(self, rows: Integers) -> "Ids":
        """The ids of some rows."""
        if isinstance(self._ids, np.ndarray):
            return Ids(self._ids[rows])
        return Ids([self._ids[row] for row in rows.tolist()])

    def __contains__(self, image: object) -> bool:
        """Whether an id is among these."""
        return self.row_of(image) >= 0

    def __iter__(self) -> Iterator[ImageId]:
        """One id after the other."""
        for begin in range(0, len(self), _BLOCK):
            part = self._ids[begin : begin + _BLOCK]
            yield from part.tolist() if isinstance(part, np.ndarray) else part

    def __len__(self) -> int:
        """The number of ids N."""
        return len(self._ids)


class ImageCaptions(Mapping[ImageId, list[str]]):
    """The captions of images by id.

    Attributes:
        ids: the images' ids.
        sets: the captions of the images, in the order of the ids.
    """

    def __init__(self, ids: Ids, sets: Sets) -> None:
        """Take ids and captions."""
        self.ids, self.sets = ids, sets

    @classmethod
    def gather(cls, captions: Iterable[tuple[ImageId, str]]) -> "ImageCaptions":
        """The captions of images, in the order in which the images occur first.

        Args:
            captions: pairs of an image's id and one of its captions, in any order.
        """
        texts, column = Texts(), Column()
        for image, text in captions:
            texts.append(text)
            column.append(image)
        names = None if column.names is None else {each: row for row, each in enumerate(dict.fromkeys(column.names))}
        if names is None or column.names is None:
            ids, places, begin, sizes = _grouped(column.numbers)
            return cls(Ids(ids), Sets(texts, places, begin, sizes))
        rows = np.fromiter(map(names.__getitem__, column.names), np.int64, len(column.names))
        return cls(Ids([*names]), Sets(texts, *_grouped(rows)[1:]))

    def take(self, rows: Integers) -> "ImageCaptions":
        """The images of some rows."""
        if np.array_equal(rows, np.arange(len(self))):
            return self
        return ImageCaptions(self.ids.take(rows), self.sets.take(rows))

    def without(self, images: Collection[ImageId]) -> "ImageCaptions":
        """All but some images."""
        return self.take(np.array([row for row, image in enumerate(self.ids) if image not in images], np.int64))

    def renamed(self, names: Mapping[ImageId, ImageId]) -> "ImageCaptions":
        """The same with other ids in place of some."""
        return ImageCaptions(Ids([names.get(image, image) for image in self.ids]), self.sets)

    def __getitem__(self, image: ImageId) -> list[str]:
        """The captions of an image."""
        row = self.ids.row_of(image)
        if row < 0:
            raise KeyError(image)
        return self.sets[row]

    def __contains__(self, image: object) -> bool:
        """Whether an image is among these."""
        return image in self.ids

    def __iter__(self) -> Iterator[ImageId]:
        """One id after the other."""
        return iter(self.ids)

    def __len__(self) -> int:
        """The number of images N."""
        return len(self.ids)


class OneCaption(Mapping[ImageId, str]):
    """One caption of each image by id, the first of ``all``."""

    def __init__(self, captions: ImageCaptions) -> None:
        """Take the captions of images that have one or more."""
        self.all = captions

    def __getitem__(self, image: ImageId) -> str:
        """The caption of an image."""
        return self.all[image][0]

    def __contains__(self, image: object) -> bool:
        """Whether an image is among these."""
        return image in self.all

    def __iter__(self) -> Iterator[ImageId]:
        """One id after the other."""
        return iter(self.all)

    def __len__(self) -> int:
        """The number of images N."""
        return len(self.all)


class Column:
    """Ids as they come: an array of numbers, or a list once there is another id.

    Attributes:
        names: the ids; None while all are whole numbers of 64 bits.
    """

    def __init__(self) -> None:
        """Begin without an id."""
        self._numbers = array("q")
        self.names: list[ImageId] | None = None

    def append(self, image: ImageId) -> None:
        """Add an id."""
        if self.names is None:
            try:
                self._numbers.append(image)  # type: ignore[arg-type]
            except (TypeError, OverflowError):
                self.names = [*self._numbers, image]
        else:
            self.names.append(image)

    @property
    def numbers(self) -> Integers:
        """The ids, if they are whole numbers."""
        return np.frombuffer(self._numbers, np.int64) if self._numbers else np.zeros(0, np.int64)

    def different(self) -> Ids:
        """The ids, each once, in the order of their first occurrence."""
        return Ids(_grouped(self.numbers)[0] if self.names is None else [*dict.fromkeys(self.names)])


def missing_from(known: Collection[ImageId], images: Collection[ImageId]) -> list[ImageId]:
    """The images that are not among others, in their order."""
    if isinstance(known, Ids) and isinstance(images, Ids):
        return [*images.take(np.flatnonzero(known.rows_of(images) < 0))]
    return [image for image in images if image not in known]


def _grouped(image: Integers) -> tuple[Integers, Places, Places, Places]:
    """Texts grouped by image, the images in the order of their first occurrence.

    Args:
        image: ``(T,)``, the image of each text.

    Returns:
        ``(N,)`` the images; ``(T,)`` the places of the texts by image; ``(N,)`` each image's first among these places;
        ``(N,)`` the number of texts of each image.
    """
    order = np.arange(len(image), dtype=np.int32)
    begin = np.flatnonzero(changes(image)).astype(np.int32)
    first = image[begin]
    if (first[1:] > first[:-1]).all() or len(np.unique(first)) == len(first):  # side by side
        return first, order, begin, np.diff(begin, append=np.int32(len(image)))
    order = np.argsort(image, kind="stable").astype(np.int32)
    begin = np.flatnonzero(changes(image[order])).astype(np.int32)
    sizes = np.diff(begin, append=np.int32(len(image)))
    by_first = np.argsort(order[begin])
    begin = begin[by_first]
    return image[order[begin]], order, begin, sizes[by_first]
