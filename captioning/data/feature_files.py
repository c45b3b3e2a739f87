"""The files of one part of a feature store: how its rows are written, made safe, and read.

Dimensions: N photographs of the store, B of a batch.
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
ROWS, DIGESTS, MANIFEST = "features.npy", "digests.npy", "manifest.json"


class StoredRows:
    """The rows of one part, for reading."""

    def __init__(self, folder: Path, shape: tuple[int, ...]) -> None:
        """Look at the file.

        Args:
            folder: of the part.
            shape: ``(N, …)``.

        Raises:
            CaptioningError: the file is not there, or has another size.
        """
        self.path, self.shape = folder / ROWS, shape
        self.offset, self.bytes, size = _layout(shape)
        if not self.path.is_file() or self.path.stat().st_size != size:
            raise _damaged(self.path, folder)

    def read(self, rows: Sequence[int]) -> Tensor:
        """``(B, …)`` for B row numbers.

        Raises:
            CaptioningError: the file can't be read, or has been cut short since it was opened.
        """
        if rows and not 0 <= min(rows) <= max(rows) < self.shape[0]:
            raise IndexError(f"{self.path} has rows 0 to {self.shape[0] - 1}")
        values = torch.empty(len(rows), *self.shape[1:], dtype=torch.float16)
        view = values.numpy().reshape(-1).view(np.uint8).data
        descriptor = self.file.fileno()
        for place, row in enumerate(rows):
            part = view[place * self.bytes : (place + 1) * self.bytes]
            try:
                got = os.preadv(descriptor, [part], self.offset + row * self.bytes)
            except OSError as error:
                raise _unreadable(self.path, error) from error
            if got != self.bytes:
                raise CaptioningError(
                    f"{self.path}: row {row} is not whole. Delete {self.path.parent} and extract again."
                )
        return values

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
        super().__init__(folder, shape)


class GrowingRows:
    """The rows of one part while they are computed, and the digests of the photographs whose rows are safe on disk."""

    def __init__(self, folder: Path, shape: tuple[int, ...]) -> None:
        """Look at what an interrupted extraction has left.

        Args:
            folder: of the part.
            shape: ``(N, …)``.

        Raises:
            CaptioningError: the rows' file has another size.
        """
        self.folder, self.path, self.shape = folder, folder / ROWS, shape
        self.offset, self.bytes, self.size = _layout(shape)
        self.done = np.zeros((shape[0], BYTES), np.uint8)
        if self.path.exists():
            if not self.path.is_file() or self.path.stat().st_size != self.size:
                raise _damaged(self.path, folder)
            saved = load_digests(folder, shape[0])
            self.done = self.done if saved is None else saved

    @property
    def missing(self) -> npt.NDArray[np.int64]:
        """The numbers of the rows that are to be computed."""
        return np.flatnonzero(~self.done.any(1))

    @property
    def missing_bytes(self) -> int:
        """What these rows will take."""
        return len(self.missing) * self.bytes

    def begin(self) -> None:
        """Make the file, at full size but without taking disk yet, and open it."""
        try:
            if not self.path.exists():
                (self.folder / DIGESTS).unlink(missing_ok=True)  # it would vouch for rows of the new file
                with atomic_write(self.path, "wb") as file:
                    file.write(npy_header("<f2", self.shape))
                    file.truncate(self.size)
            self.file = self.path.open("r+b")
        except OSError as error:
            raise write_error(self.path, error) from error

    def write(self, rows: npt.NDArray[np.int64], values: Tensor) -> None:
        """Write ``values (B, …)`` to those of the rows that are not safe on disk yet; neighbours go in one piece."""
        missing = ~self.done[rows].any(1)
        if not missing.all():
            rows, values = rows[missing], values[torch.from_numpy(missing)]
        if not len(rows):
            return
        block = values.contiguous().numpy().reshape(-1).view(np.uint8).data
        ends = [*(np.flatnonzero(np.diff(rows) != 1) + 1).tolist(), len(rows)]
        try:
            for start, end in zip([0, *ends], ends, strict=False):
                self.file.seek(self.offset + int(rows[start]) * self.bytes)
                self.file.write(block[start * self.bytes : end * self.bytes])
        except OSError as error:
            raise write_error(self.path, error) from error

    def commit(self, rows: Sequence[int] | npt.NDArray[np.int64], digests: npt.NDArray[np.uint8]) -> None:
        """Bring rows to the disk first, then the digests of their photographs.

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
        numbers = np.asarray(rows, np.int64)
        self.done[numbers] = digests[numbers]
        save_array(self.folder / DIGESTS, self.done)

    def finish(self, described: Mapping[str, Any]) -> None:
        """Say that all is there."""
        self.file.close()
        write_json(self.folder / MANIFEST, {**described, "shape": list(self.shape)})


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
