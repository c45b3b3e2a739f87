"""Numbers that grow row by row, and lie in a temporary file beyond so many bytes."""

from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from functools import cached_property
from io import BufferedRandom
from pathlib import Path
from tempfile import TemporaryFile, gettempdir
from typing import Any, Self

import numpy as np
from numpy.typing import DTypeLike, NDArray

from captioning.core.files import write_error

HELD = 1 << 18  # bytes in memory; the rows after them are in a file
ROWS = 1 << 16  # rows of a block


class Spilled:
    """Rows of numbers: appended in parts, read in copies of some of them.

    The file is read, not mapped: no page of it counts as memory of the process.

    Attributes:
        dtype: the type of all rows together; each part keeps its own, and takes the bytes of its own.
    """

    def __init__(self, dtype: DTypeLike = np.int64, held: int | None = None) -> None:
        """Begin without a row.

        Args:
            dtype: the type of no rows.
            held: the number of bytes that are kept in memory; by default ``HELD``.
        """
        self._empty = np.zeros(0, dtype)
        self._left = HELD if held is None else held
        self._begins = array("q", [0])  # the first row of each part, and one after the last row
        self._parts: list[NDArray[Any] | tuple[int, np.dtype[Any]]] = []  # rows, or a place in the file and their type
        self._end = 0  # of the file

    @classmethod
    def of(cls, rows: NDArray[Any]) -> Self:
        """The rows of an array."""
        return cls.joined((rows[begin : begin + ROWS] for begin in range(0, len(rows), ROWS)), rows.dtype)

    @classmethod
    def joined(cls, parts: Iterable[NDArray[Any]], dtype: DTypeLike = np.int32) -> Self:
        """The rows of all parts, as numbers of one type."""
        found = cls(dtype)
        for part in parts:
            found.append(part.astype(dtype, copy=False))
        return found

    def append(self, rows: NDArray[Any]) -> None:
        """Add rows, ``(n, …)``.

        Raises:
            CaptioningError: the temporary file can't be written.
        """
        if not len(rows):
            return
        self._empty = np.zeros((0, *rows.shape[1:]), np.result_type(self._empty, rows) if len(self) else rows.dtype)
        if rows.nbytes <= self._left:
            self._left -= rows.nbytes
            self._parts.append(rows.copy())
        else:
            self._left = 0
            try:
                self._file.seek(self._end)
                self._file.write(rows.tobytes())
            except OSError as error:
                raise write_error(Path(gettempdir()), error) from error
            self._parts.append((self._end, rows.dtype))
            self._end += rows.nbytes
        self._begins.append(self._begins[-1] + len(rows))

    @property
    def dtype(self) -> np.dtype[Any]:
        """See above."""
        return self._empty.dtype

    def __len__(self) -> int:
        """The number of rows."""
        return self._begins[-1]

    def __getitem__(self, rows: slice) -> NDArray[Any]:
        """The rows of a slice without a step."""
        begin, end, _ = rows.indices(len(self))
        found = []
        number = bisect_right(self._begins, begin) - 1
        while begin < end:
            first, after = self._begins[number], min(end, self._begins[number + 1])
            found.append(self._of(number, begin - first, after - first))
            begin, number = after, number + 1
        return found[0] if len(found) == 1 else np.concatenate([self._empty, *found])

    def _of(self, number: int, begin: int, end: int) -> NDArray[Any]:
        """Some rows of a part."""
        part = self._parts[number]
        if not isinstance(part, tuple):
            return part[begin:end]
        place, dtype = part
        rows = np.empty((end - begin, *self._empty.shape[1:]), dtype)
        self._file.seek(place + begin * (rows.nbytes // len(rows)))
        self._file.readinto(rows.data.cast("B"))
        return rows

    def blocks(self, size: int = ROWS) -> Iterator[tuple[int, NDArray[Any]]]:
        """All rows in blocks, each with the number of its first row."""
        for begin in range(0, len(self), size):
            yield begin, self[begin : begin + size]

    def take(self, places: NDArray[Any]) -> NDArray[Any]:
        """The rows of some places, each 0 or more, in any order."""
        found = np.empty((len(places), *self._empty.shape[1:]), self.dtype)
        if not len(places):
            return found
        least, most = int(places.min()), int(places.max())
        if most - least < 4 * max(len(places), ROWS):
            found[:] = self[least : most + 1][places - least]
            return found
        for begin, block in self.blocks():
            here = np.flatnonzero((places >= begin) & (places < begin + len(block)))
            found[here] = block[places[here] - begin]
        return found

    def taken(self, places: NDArray[Any] | slice) -> Self:
        """``take`` in blocks, to other such numbers; a slice is of few rows."""
        if isinstance(places, slice):
            return self.of(self[places])
        blocks = range(0, len(places), ROWS)
        return self.joined((self.take(places[begin : begin + ROWS]) for begin in blocks), self.dtype)

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        """All rows in memory."""
        return self[:].astype(self.dtype if dtype is None else dtype)

    def same(self, other: "Spilled") -> bool:
        """Whether others have the same rows in the same order."""
        return len(self) == len(other) and all(
            np.array_equal(block, other[begin : begin + len(block)]) for begin, block in self.blocks()
        )

    @cached_property
    def _file(self) -> BufferedRandom:
        return TemporaryFile()
