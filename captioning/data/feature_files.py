"""The files of one part of a feature store: how its rows are written, made safe, and read.

Dimensions: N photographs of the store, B of a batch, L regions, D numbers of a region.
"""

import json
import math
import os
from collections.abc import Mapping, Sequence
from functools import cached_property
from io import FileIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from captioning.core.errors import CaptioningError
from captioning.core.files import atomic_write, write_error, write_json
from captioning.data.digests import BYTES, load_array, npy_header, save_array

FORMAT = 3  # of the files, and of how pictures are resized
LENGTH = np.dtype("<i4")  # of a number of regions
ROWS, LENGTHS, DIGESTS, MANIFEST = "features.npy", "lengths.npy", "digests.npy", "manifest.json"


class StoredRows:
    """The rows of one part, for reading."""

    def __init__(self, folder: Path, shape: tuple[int, ...], varying: bool = False) -> None:
        """Look at the files.

        Args:
            folder: of the part.
            shape: ``(N, …)``.
            varying: whether the rows are ``(L, D)`` and photographs have different numbers of regions.

        Raises:
            CaptioningError: a file is not there, or has another size.
        """
        self.path, self.shape = folder / ROWS, shape
        self.offset, self.bytes, size = _layout(shape)
        self.lengths = load_array(folder / LENGTHS, LENGTH, shape[:1]) if varying else None
        if varying and self.lengths is None:
            raise _damaged(folder / LENGTHS, folder)
        if not self.path.is_file() or self.path.stat().st_size != size:
            raise _damaged(self.path, folder)

    def read(self, rows: Sequence[int]) -> tuple[Tensor, Tensor | None]:
        """Some rows.

        Args:
            rows: B row numbers.

        Returns:
            ``(B, …)`` and None; of a varying part ``(B, longest, D)``, zeros beyond a photograph's regions, and the
            lengths ``(B,)``.

        Raises:
            CaptioningError: the file can't be read, or has been cut short since it was opened; lengths are damaged.
        """
        if rows and not 0 <= min(rows) <= max(rows) < self.shape[0]:
            raise IndexError(f"{self.path} has rows 0 to {self.shape[0] - 1}")
        if self.lengths is None:
            values = torch.empty(len(rows), *self.shape[1:], dtype=torch.float16)
            self._fill(values, rows, [self.bytes] * len(rows))
            return values, None
        lengths, L = self.lengths[np.asarray(rows, np.int64)], self.shape[1]
        if len(rows) and not 1 <= lengths.min() <= lengths.max() <= L:
            raise _damaged(self.path.with_name(LENGTHS), self.path.parent)
        values = torch.zeros(len(rows), int(lengths.max(initial=1)), *self.shape[2:], dtype=torch.float16)
        self._fill(values, rows, (lengths.astype(np.int64) * (self.bytes // L)).tolist())
        return values, torch.from_numpy(lengths.astype(np.int64))

    def _fill(self, values: Tensor, rows: Sequence[int], sizes: Sequence[int]) -> None:
        """Read the first bytes of each of B rows to the beginnings of ``values (B, …)``."""
        view = values.numpy().reshape(-1).view(np.uint8).data
        descriptor, stride = self.file.fileno(), values[:1].numel() * values.element_size()
        for place, (row, size) in enumerate(zip(rows, sizes, strict=True)):
            part = view[place * stride : place * stride + size]
            try:
                got = os.preadv(descriptor, [part], self.offset + row * self.bytes)
            except OSError as error:
                raise _unreadable(self.path, error) from error
            if got != size:
                raise CaptioningError(
                    f"{self.path}: row {row} is not whole. Delete {self.path.parent} and extract again."
                )

    @cached_property
    def file(self) -> FileIO:
        """Opened on first use, in the process that reads."""
        try:
            return self.path.open("rb", buffering=0)
        except OSError as error:
            raise _unreadable(self.path, error) from error

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "file"}


class FinishedRows(StoredRows):
    """The rows of one part that is complete: nothing writes to them any more."""

    def __init__(self, folder: Path) -> None:
        """Open what ``GrowingRows.finish`` has finished.

        Raises:
            CaptioningError: the part is not complete, or damaged.
        """
        path = folder / MANIFEST
        shape = finished_shape(folder)
        if shape is None and path.exists():
            raise CaptioningError(
                f"{path}: not what was stored there. Delete this file and run again: the features are kept."
            )
        if shape is None:
            raise CaptioningError(f"{path}: there is no such complete store of features. Check the path.")
        super().__init__(folder, shape, read_object(path).get("varying") is True)


class GrowingRows:
    """The rows of one part while they are computed, and the digests of the photographs whose rows are safe on disk."""

    def __init__(self, folder: Path, shape: tuple[int, ...], varying: bool = False) -> None:
        """Look at what an interrupted extraction has left.

        Args:
            folder: of the part.
            shape: ``(N, …)``.
            varying: whether the rows are ``(L, D)`` and photographs have different numbers of regions.

        Raises:
            CaptioningError: the rows' file has another size.
        """
        self.folder, self.path, self.shape, self.varying = folder, folder / ROWS, shape, varying
        self.offset, self.bytes, self.size = _layout(shape)
        self.done = np.zeros((shape[0], BYTES), np.uint8)
        self.lengths = np.zeros(shape[0] if varying else 0, LENGTH)
        if self.path.exists():
            if not self.path.is_file() or self.path.stat().st_size != self.size:
                raise _damaged(self.path, folder)
            saved = load_digests(folder, shape[0])
            self.done = self.done if saved is None else saved
        if varying:
            lengths = load_array(folder / LENGTHS, LENGTH, shape[:1])
            self.lengths = self.lengths if lengths is None else lengths
            self.done[(self.lengths < 1) | (self.lengths > shape[1])] = 0  # a row without its length is not whole

    @property
    def missing(self) -> npt.NDArray[np.int64]:
        """The numbers of the rows that are to be computed."""
        return np.flatnonzero(~self.done.any(1))

    @property
    def missing_bytes(self) -> int:
        """What these rows will take."""
        return len(self.missing) * self.bytes

    def begin(self) -> None:
        """Make the rows' file, at full size but without taking disk yet, and open it."""
        try:
            if not self.path.exists():
                (self.folder / DIGESTS).unlink(missing_ok=True)  # it would vouch for rows of the new file
                with atomic_write(self.path, "wb") as file:
                    file.write(npy_header("<f2", self.shape))
                    file.truncate(self.size)
            self.file = self.path.open("r+b")
        except OSError as error:
            raise write_error(self.path, error) from error

    def write(self, rows: npt.NDArray[np.int64], values: Tensor, lengths: Tensor | None = None) -> None:
        """Write those of the rows that are not safe on disk yet.

        Args:
            rows: B row numbers.
            values: ``(B, …)``; of a varying part ``(B, longest, D)``.
            lengths: ``(B,)``, of a varying part: how many regions of each photograph are written, 1 to L.
        """
        missing = ~self.done[rows].any(1)
        if not missing.all():
            kept = torch.from_numpy(missing)
            rows, values, lengths = rows[missing], values[kept], None if lengths is None else lengths[kept]
        if not len(rows):
            return
        block = values.contiguous().numpy().reshape(-1).view(np.uint8).data
        stride = len(block) // len(rows)
        try:
            if lengths is None:  # neighbours go in one piece
                ends = [*(np.flatnonzero(np.diff(rows) != 1) + 1).tolist(), len(rows)]
                for start, end in zip([0, *ends], ends, strict=False):
                    self._put(int(rows[start]), block[start * stride : end * stride])
                return
            self.lengths[rows] = lengths.numpy()
            for place, row in enumerate(rows.tolist()):
                size = int(lengths[place]) * (self.bytes // self.shape[1])
                self._put(row, block[place * stride : place * stride + size])
        except OSError as error:
            raise write_error(self.path, error) from error

    def _put(self, row: int, content: memoryview) -> None:
        self.file.seek(self.offset + row * self.bytes)
        self.file.write(content)

    def commit(self, rows: Sequence[int] | npt.NDArray[np.int64], digests: npt.NDArray[np.uint8]) -> None:
        """Bring rows to the disk first, then their lengths, then the digests of their photographs.

        Args:
            rows: B row numbers.
            digests: ``(N, 16)``, of all photographs.
        """
        if not len(rows):
            return
        try:
            self.file.flush()
            os.fsync(self.file.fileno())
        except OSError as error:
            raise write_error(self.path, error) from error
        if self.varying:
            save_array(self.folder / LENGTHS, self.lengths)
        numbers = np.asarray(rows, np.int64)
        self.done[numbers] = digests[numbers]
        save_array(self.folder / DIGESTS, self.done)

    def finish(self, described: Mapping[str, Any]) -> None:
        """Say that all is there."""
        self.file.close()
        varying = {"varying": True} if self.varying else {}
        write_json(self.folder / MANIFEST, {**described, "shape": list(self.shape), **varying})


def finished_shape(folder: Path) -> tuple[int, ...] | None:
    """``(N, …)`` of a part that is complete; None where it is not, or where its manifest is damaged."""
    manifest = read_object(folder / MANIFEST)
    shape = manifest.get("shape")
    if manifest.get("format") != FORMAT or not isinstance(shape, list):
        return None
    return tuple(shape) if len(shape) in (2, 3) and all(type(size) is int and size >= 0 for size in shape) else None


def load_digests(folder: Path, photographs: int) -> npt.NDArray[np.uint8] | None:
    """Of one part, the digest of each row's photograph, ``(N, 16)``: zeros where the row is not safe on disk yet."""
    return load_array(folder / DIGESTS, np.uint8, (photographs, BYTES))


def read_object(path: Path) -> dict[str, Any]:
    """A JSON object; an empty one where the file is not there, or is something else."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _damaged(path: Path, folder: Path) -> CaptioningError:
    return CaptioningError(f"{path}: not the file that was stored there. Delete {folder} and extract again.")


def _unreadable(path: Path, error: OSError) -> CaptioningError:
    return CaptioningError(f"{path}: can't be read ({error.strerror or error}). Check the file and its permissions.")


def _layout(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """Of a .npy file of float16: where the rows begin, the bytes of a row, the size of all."""
    offset, row = len(npy_header("<f2", shape)), 2 * math.prod(shape[1:])
    return offset, row, offset + shape[0] * row
