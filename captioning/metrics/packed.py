"""The captions of very many images, packed: some 60 bytes a caption, where strings in lists and dictionaries take 300.

What is more than 100,000 captions is in a temporary file, and so are the numbers of more than some 30,000 images: a
further caption takes no memory.

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

from captioning.core.files import write_error
from captioning.core.ids import ImageId
from captioning.core.spilled import Spilled
from captioning.metrics.image_ids import Column, Ids, Numbers, grouped
from captioning.text.token_numbers import Integers, spans

_BITS = 10  # of a text's place in its block
_BLOCK = 1 << _BITS
_HELD = 96  # blocks in memory, 5 MB of captions
_ENCODING = ("utf-8", "surrogatepass")


class Texts:
    """Texts in blocks of bytes, which grow without a copy: the first ones in memory, the others in a file."""

    def __init__(self, held: int = _HELD) -> None:
        """Begin without a text.

        Args:
            held: the number of blocks that are kept in memory.
        """
        self._held = held
        self._blocks: list[tuple[array[int], bytes]] = []  # the texts' ends, and the texts
        self._last: list[str] = []
        self._starts = array("q", [0])  # of the blocks in the file
        self._read = -1, (array("i"), b"")  # the block of the file that was read last

    def append(self, text: str) -> None:
        """Add a text.

        Raises:
            CaptioningError: the temporary file can't be written.
        """
        self._last.append(text)
        if len(self._last) < _BLOCK:
            return
        parts = [each.encode(*_ENCODING) for each in self._last]
        ends = array("i", accumulate(map(len, parts), initial=0))
        self._last = []
        if len(self._blocks) < self._held:
            self._blocks.append((ends, b"".join(parts)))
            return
        try:
            self._file.seek(self._starts[-1])
            self._starts.append(self._starts[-1] + self._file.write(b"".join([ends.tobytes(), *parts])))
        except OSError as error:
            raise write_error(Path(gettempdir()), error) from error

    def __len__(self) -> int:
        """The number of texts."""
        return self._full * _BLOCK + len(self._last)

    @property
    def _full(self) -> int:
        """The number of blocks."""
        return len(self._blocks) + len(self._starts) - 1

    def __getitem__(self, place: int) -> str:
        """The text of a place, 0 or more."""
        block = place >> _BITS
        within = place & (_BLOCK - 1)
        if block == self._full:
            return self._last[within]
        ends, texts = self._block(block)
        return texts[ends[within] : ends[within + 1]].decode(*_ENCODING)

    def _block(self, block: int) -> "tuple[array[int], bytes]":
        """The ends of the texts of a block, and the texts."""
        if block < len(self._blocks):
            return self._blocks[block]
        if self._read[0] != block:
            begin, end = self._starts[block - len(self._blocks) : block - len(self._blocks) + 2]
            self._file.seek(begin)
            ends = array("i")
            ends.frombytes(self._file.read((_BLOCK + 1) * ends.itemsize))
            self._read = block, (ends, self._file.read(end - begin - len(ends) * ends.itemsize))
        return self._read[1]

    @cached_property
    def _file(self) -> BufferedRandom:
        return TemporaryFile()


class Chosen(Sequence[str]):
    """Some texts in some order."""

    def __init__(self, texts: Texts, places: Numbers) -> None:
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
        if isinstance(place, slice):
            return [*map(self._texts.__getitem__, _listed(self._places, place))]
        place = range(len(self))[place]
        return self._texts[_listed(self._places, slice(place, place + 1))[0]]

    def __iter__(self) -> Iterator[str]:
        """One text after the other."""
        for begin in range(0, len(self), _BLOCK):
            yield from self[begin : begin + _BLOCK]


class Sets(Sequence[list[str]]):
    """The captions of each of N images.

    Attributes:
        flat: all captions, those of one image after the other.
        counts: ``(N,)``, the number of captions of each image.
    """

    def __init__(self, texts: Texts, places: Numbers, begin: Spilled, counts: Spilled) -> None:
        """Take the captions.

        Args:
            texts: the texts.
            places: the texts' places, those of an image side by side.
            begin: ``(N,)``, where each image's captions begin among ``places``.
            counts: see above.
        """
        self._texts, self._places, self._begin, self.counts = texts, places, begin, counts

    @property
    def sizes(self) -> Integers:
        """``counts`` in memory."""
        return np.asarray(self.counts)

    @property
    def flat(self) -> Chosen:
        """All captions."""
        if self._are_in_order():
            return Chosen(self._texts, self._places)
        return Chosen(
            self._texts,
            Spilled.joined(
                _some(self._places, spans(begin.astype(np.int64), self.counts[row : row + len(begin)].astype(np.int64)))
                for row, begin in self._begin.blocks()
            ),
        )

    def _are_in_order(self) -> bool:
        """Whether the places are those of one image after the other."""
        end = 0
        for row, counts in self.counts.blocks():
            ends = end + np.cumsum(counts)
            if not np.array_equal(ends - counts, self._begin[row : row + len(counts)]):
                return False
            end = int(ends[-1])
        return end == len(self._places)

    @property
    def first(self) -> Chosen:
        """The first caption of each image."""
        return Chosen(self._texts, Spilled.joined(_some(self._places, begin) for _, begin in self._begin.blocks()))

    def several(self) -> Integers:
        """The numbers of the images with two captions or more."""
        found = [row + np.flatnonzero(counts > 1) for row, counts in self.counts.blocks()]
        return np.concatenate([np.zeros(0, np.int64), *found])

    def take(self, images: Integers | slice) -> "Sets":
        """The captions of some images by their numbers."""
        return Sets(self._texts, self._places, self._begin.taken(images), self.counts.taken(images))

    def __len__(self) -> int:
        """The number of images N."""
        return len(self.counts)

    @overload
    def __getitem__(self, place: int) -> list[str]: ...

    @overload
    def __getitem__(self, place: slice) -> "Sets": ...

    def __getitem__(self, place: int | slice) -> "list[str] | Sets":
        """The captions of an image, or those of the images of a slice."""
        if isinstance(place, slice):
            return self.take(place)
        place = range(len(self))[place]
        begin, count = (int(each[place : place + 1][0]) for each in (self._begin, self.counts))
        return [*map(self._texts.__getitem__, _listed(self._places, slice(begin, begin + count)))]


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
            ids, places, begin, counts = grouped(column.numbers)
            return cls(Ids(ids), Sets(texts, places, begin, counts))
        rows = np.fromiter(map(names.__getitem__, column.names), np.int64, len(column.names))
        return cls(Ids([*names]), Sets(texts, *grouped(Spilled.of(rows))[1:]))

    def take(self, rows: Integers) -> "ImageCaptions":
        """The images of some rows."""
        if np.array_equal(rows, np.arange(len(self))):
            return self
        return ImageCaptions(self.ids.take(rows), self.sets.take(rows))

    def in_order_of(self, ids: Ids) -> "ImageCaptions":
        """The images of other ids, all of which are here, in the order of the other ids."""
        return self if self.ids.same(ids) else self.take(self.ids.rows_of(ids))

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


def _listed(places: Numbers, some: slice) -> list[int]:
    """The places of a slice as a list."""
    found = places[some]
    return [*found] if isinstance(found, range) else found.tolist()


def _some(places: Numbers, of: Integers) -> Integers:
    """Some of the places."""
    return of if isinstance(places, range) else places.take(of)
