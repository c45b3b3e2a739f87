"""The files of one part of a feature store: writing, syncing and reading the part's rows.

Dimensions: N photographs of the store, B of a batch, L regions, D features of a region.
"""

import json
import math
import os
import zlib
from collections.abc import Mapping, Sequence
from functools import cached_property
from io import FileIO
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from captioning.core.errors import CaptioningError
from captioning.core.files import atomic_write, write_error, write_json
from captioning.data.digests import BYTES, load_array, npy_header, save_array

FORMAT = 3  # the version of the files and of the resizing of images
LENGTH = np.dtype("<i4")  # the type of a number of regions
CHECKSUM = np.dtype("<u4")  # the type of the CRC-32 of a row's bytes
ROWS, LENGTHS, DIGESTS, MANIFEST = "features.npy", "lengths.npy", "digests.npy", "manifest.json"
CHECKSUMS = "checksums.npy"
_seeking = Lock()  # where a file can't be read at a place without moving its position


class StoredRows:
    """The rows of one part, read-only.

    The first read of a row in a process compares the row's checksum: a bit that has changed on the disk is an error,
    and later reads are as fast as without checksums. The stores of version 0.1 have none.
    """

    def __init__(self, folder: Path, shape: tuple[int, ...], varying: bool = False, summed: bool = False) -> None:
        """Check the files.

        Args:
            folder: the part's folder.
            shape: ``(N, …)``, the shape of all rows.
            varying: True if the rows are ``(L, D)`` and the number of regions differs between photographs.
            summed: True if there must be checksums.

        Raises:
            CaptioningError: a file is missing or has another size.
        """
        self.path, self.shape = folder / ROWS, shape
        self.offset, self.bytes, size = _layout(shape)
        self.lengths = load_array(folder / LENGTHS, LENGTH, shape[:1]) if varying else None
        if varying and self.lengths is None:
            raise _damaged(folder / LENGTHS, folder)
        self.checksums = load_array(folder / CHECKSUMS, CHECKSUM, shape[:1])
        if summed and self.checksums is None:
            raise _damaged(folder / CHECKSUMS, folder)
        self.checked = np.full(shape[0], self.checksums is None)
        if not self.path.is_file() or self.path.stat().st_size != size:
            raise _damaged(self.path, folder)

    def read(self, rows: Sequence[int]) -> tuple[Tensor, Tensor | None]:
        """The rows of B photographs.

        Args:
            rows: B row numbers.

        Returns:
            ``(B, …)`` and None; for a varying part ``(B, longest, D)``, zeros beyond a photograph's regions, and the
            lengths ``(B,)``.

        Raises:
            CaptioningError: the file can't be read, or was truncated after its opening; rows or lengths are damaged.
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
        """Read the first bytes of each of B rows into the beginnings of ``values (B, …)``."""
        view = values.numpy().reshape(-1).view(np.uint8).data
        stride = values[:1].numel() * values.element_size()
        for place, (row, size) in enumerate(zip(rows, sizes, strict=True)):
            part = view[place * stride : place * stride + size]
            try:
                got = _read_at(self.file, part, self.offset + row * self.bytes)
            except OSError as error:
                raise _unreadable(self.path, error) from error
            if got != size:
                raise CaptioningError(
                    f"{self.path}: row {row} is not whole. Delete {self.path.parent} and extract again."
                )
            if not self.checked[row]:
                if self.checksums is not None and zlib.crc32(part) != self.checksums[row]:
                    raise CaptioningError(
                        f"{self.path}: row {row} is not what was stored there: the file is damaged. Delete "
                        f"{self.path.parent} and extract again."
                    )
                self.checked[row] = True

    @cached_property
    def file(self) -> FileIO:
        """The file, opened on first use by the process that reads."""
        try:
            return self.path.open("rb", buffering=0)
        except OSError as error:
            raise _unreadable(self.path, error) from error

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "file"}


class FinishedRows(StoredRows):
    """The rows of one complete part, which nothing changes any more."""

    def __init__(self, folder: Path) -> None:
        """Open a part that ``GrowingRows.finish`` has completed.

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
        manifest = read_object(path)
        super().__init__(folder, shape, manifest.get("varying") is True, manifest.get("checksums") is True)


class GrowingRows:
    """The rows of one part during extraction, with the digests of the photographs whose rows are safe on disk."""

    def __init__(self, folder: Path, shape: tuple[int, ...], varying: bool = False) -> None:
        """Read the progress of an interrupted extraction.

        Args:
            folder: the part's folder.
            shape: ``(N, …)``, the shape of all rows.
            varying: True if the rows are ``(L, D)`` and the number of regions differs between photographs.

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
        sums = load_array(folder / CHECKSUMS, CHECKSUM, shape[:1])
        if sums is None:
            self.done[:] = 0  # a row without its checksum is incomplete
        self.checksums = np.zeros(shape[0], CHECKSUM) if sums is None else sums
        if varying:
            lengths = load_array(folder / LENGTHS, LENGTH, shape[:1])
            self.lengths = self.lengths if lengths is None else lengths
            self.done[(self.lengths < 1) | (self.lengths > shape[1])] = 0  # a row without its length is incomplete

    @property
    def missing(self) -> npt.NDArray[np.int64]:
        """The numbers of the rows that are not computed yet."""
        return np.flatnonzero(~self.done.any(1))

    @property
    def missing_bytes(self) -> int:
        """The size of the missing rows in bytes."""
        return len(self.missing) * self.bytes

    def begin(self) -> None:
        """Create and open the rows' file, at its full size but sparse."""
        try:
            if not self.path.exists():
                (self.folder / DIGESTS).unlink(missing_ok=True)  # old digests would vouch for rows of the new file
                with atomic_write(self.path, "wb") as file:
                    file.write(npy_header("<f2", self.shape))
                    file.truncate(self.size)
            self.file = self.path.open("r+b")
        except OSError as error:
            raise write_error(self.path, error) from error

    def write(self, rows: npt.NDArray[np.int64], values: Tensor, lengths: Tensor | None = None) -> None:
        """Write the given rows, except rows that are already safe on disk.

        Args:
            rows: B row numbers.
            values: ``(B, …)``; for a varying part ``(B, longest, D)``.
            lengths: ``(B,)``, for a varying part: the number of regions of each photograph, 1 to L.
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
            if lengths is None:  # adjacent rows are written at once
                for place, row in enumerate(rows.tolist()):
                    self.checksums[row] = zlib.crc32(block[place * stride : (place + 1) * stride])
                ends = [*(np.flatnonzero(np.diff(rows) != 1) + 1).tolist(), len(rows)]
                for start, end in zip([0, *ends], ends, strict=False):
                    self._put(int(rows[start]), block[start * stride : end * stride])
                return
            self.lengths[rows] = lengths.numpy()
            for place, row in enumerate(rows.tolist()):
                size = int(lengths[place]) * (self.bytes // self.shape[1])
                self.checksums[row] = zlib.crc32(block[place * stride : place * stride + size])
                self._put(row, block[place * stride : place * stride + size])
        except OSError as error:
            raise write_error(self.path, error) from error

    def _put(self, row: int, content: memoryview) -> None:
        self.file.seek(self.offset + row * self.bytes)
        self.file.write(content)

    def commit(self, rows: Sequence[int] | npt.NDArray[np.int64], digests: npt.NDArray[np.uint8]) -> None:
        """Sync rows to the disk first, then the rows' lengths and checksums, then the digests of the photographs.

        Args:
            rows: B row numbers.
            digests: ``(N, 16)``, the digests of all photographs.
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
        save_array(self.folder / CHECKSUMS, self.checksums)
        numbers = np.asarray(rows, np.int64)
        self.done[numbers] = digests[numbers]
        save_array(self.folder / DIGESTS, self.done)

    def finish(self, described: Mapping[str, Any]) -> None:
        """Mark the part as complete."""
        self.file.close()
        varying = {"varying": True} if self.varying else {}
        write_json(self.folder / MANIFEST, {**described, "shape": list(self.shape), **varying, "checksums": True})


def finished_shape(folder: Path) -> tuple[int, ...] | None:
    """The shape ``(N, …)`` of a complete part; None for an incomplete part or a damaged manifest."""
    manifest = read_object(folder / MANIFEST)
    shape = manifest.get("shape")
    if manifest.get("format") != FORMAT or not isinstance(shape, list):
        return None
    return tuple(shape) if len(shape) in (2, 3) and all(type(size) is int and size >= 0 for size in shape) else None


def load_digests(folder: Path, photographs: int) -> npt.NDArray[np.uint8] | None:
    """The digest of each row's photograph in one part, ``(N, 16)``: zeros where the row is not safe on disk yet."""
    return load_array(folder / DIGESTS, np.uint8, (photographs, BYTES))


def read_object(path: Path) -> dict[str, Any]:
    """The JSON object in a file; an empty one if the file is missing or holds something else."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _read_at(file: FileIO, into: memoryview, offset: int) -> int:
    """Read bytes at a place of a file; Windows lacks ``preadv``."""
    if hasattr(os, "preadv"):
        return os.preadv(file.fileno(), [into], offset)
    with _seeking:
        file.seek(offset)
        return file.readinto(into)


def _damaged(path: Path, folder: Path) -> CaptioningError:
    return CaptioningError(f"{path}: not the file that was stored there. Delete {folder} and extract again.")


def _unreadable(path: Path, error: OSError) -> CaptioningError:
    return CaptioningError(f"{path}: can't be read ({error.strerror or error}). Check the file and its permissions.")


def _layout(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """The layout of a float16 .npy file: the offset of the rows, the bytes of a row, the size of the file."""
    offset, row = len(npy_header("<f2", shape)), 2 * math.prod(shape[1:])
    return offset, row, offset + shape[0] * row
