"""The files of one part of a feature store: how its rows are written, made safe, and read.

Dimensions: N photographs of the store, B of a batch.
"""

import hashlib
import logging
import math
import os
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from io import BytesIO, FileIO
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from captioning.core.errors import CaptioningError
from captioning.core.files import atomic_write, read_json, write_error, write_json
from captioning.core.progress import progress

log = logging.getLogger(__name__)

FORMAT = 2  # of the file, and of how pictures are resized
STAMP = np.dtype([("size", "<i8"), ("modified", "<i8"), ("digest", "<u8")])  # digest 0: no row yet


class Row(NamedTuple):
    """A photograph that was read: its row, and (size, time, digest) of its file."""

    number: int
    stamp: tuple[int, int, int]


class FinishedRows:
    """The finished rows of one part, for reading."""

    def __init__(self, folder: Path) -> None:
        manifest = read_json(folder / "manifest.json", "complete store of features")
        self.path = folder / "features.npy"
        self.shape: tuple[int, ...] = tuple(manifest["shape"])
        self.offset, self.bytes, size = _layout(self.shape)
        if manifest["format"] != FORMAT or not self.path.is_file() or self.path.stat().st_size != size:
            raise CaptioningError(
                f"{self.path}: not the file that was stored there. Delete {folder} and extract again."
            )

    def read(self, rows: Sequence[int]) -> Tensor:
        """``(B, …)`` for B row numbers.

        Raises:
            CaptioningError: the file has been cut short since it was opened.
        """
        if rows and not 0 <= min(rows) <= max(rows) < self.shape[0]:
            raise IndexError(f"{self.path} has rows 0 to {self.shape[0] - 1}")
        values = torch.empty(len(rows), *self.shape[1:], dtype=torch.float16)
        view = values.numpy().reshape(-1).view(np.uint8).data
        descriptor = self.file.fileno()
        for place, row in enumerate(rows):
            part = view[place * self.bytes : (place + 1) * self.bytes]
            if os.preadv(descriptor, [part], self.offset + row * self.bytes) != self.bytes:
                raise CaptioningError(
                    f"{self.path}: row {row} is not whole. Delete {self.path.parent} and extract again."
                )
        return values

    @cached_property
    def file(self) -> FileIO:
        """Opened on first use, in the process that reads."""
        return self.path.open("rb", buffering=0)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "file"}


class GrowingRows:
    """The rows of one part while they are computed, and the stamps that say which of them are safe on disk."""

    def __init__(self, folder: Path, shape: tuple[int, ...]) -> None:
        self.folder, self.shape = folder, shape
        self.path, self.manifest, self.stamped = (
            folder / name for name in ("features.npy", "manifest.json", "stamps.npy")
        )
        self.offset, self.bytes, self.size = _layout(shape)
        self.stamps = np.zeros(shape[0], STAMP)
        if self.stamped.is_file() and self.path.is_file() and self.path.stat().st_size == self.size:
            self.stamps = np.load(self.stamped)

    @property
    def missing(self) -> npt.NDArray[np.int64]:
        """The numbers of the rows that are to be computed."""
        return np.flatnonzero(self.stamps["digest"] == 0)

    @property
    def missing_bytes(self) -> int:
        """What these rows will take."""
        return len(self.missing) * self.bytes

    @property
    def complete(self) -> bool:
        """Whether nothing is to be done."""
        return self.manifest.is_file() and not len(self.missing)

    def forget_changed(self, files: Sequence[Path], seen: npt.NDArray[Any], digest: Callable[[Path], int]) -> None:
        """Take the stamp from rows whose picture has changed.

        Size and time tell quickly that a picture is the same; where they differ, its digest decides, so that copying
        the pictures elsewhere does not cost their features.
        """
        differs = (self.stamps["size"] != seen["size"]) | (self.stamps["modified"] != seen["modified"])
        doubtful = np.flatnonzero(differs & (self.stamps["digest"] != 0))
        changed = 0
        for row in progress(doubtful, "comparing photographs"):
            if self.stamps["size"][row] == seen["size"][row] and self.stamps["digest"][row] == digest(files[row]):
                self.stamps["modified"][row] = seen["modified"][row]
            else:
                self.stamps[row] = 0
                changed += 1
        if changed:
            log.info("%s: %d photographs have changed since; their features are computed again", self.folder, changed)
            self.manifest.unlink(missing_ok=True)
        if len(doubtful):
            self._save_stamps()

    def begin(self) -> None:
        """Make the file, at full size but without taking disk yet, and open it."""
        try:
            self.manifest.unlink(missing_ok=True)
            self.folder.mkdir(parents=True, exist_ok=True)
            if not self.stamps["digest"].any():
                self.stamped.unlink(missing_ok=True)  # before there is a new file that old stamps would vouch for
                with self.path.open("wb") as file:
                    file.write(_header(self.shape))
                    file.truncate(self.size)
            self.file = self.path.open("r+b")
        except OSError as error:
            raise write_error(self.path, error) from error

    def write(self, rows: npt.NDArray[np.int64], values: Tensor) -> None:
        """Write ``values (B, …)`` to the rows; neighbours go in one piece."""
        block = values.contiguous().numpy().reshape(-1).view(np.uint8).data
        ends = [*(np.flatnonzero(np.diff(rows) != 1) + 1).tolist(), len(rows)]
        try:
            for start, end in zip([0, *ends], ends, strict=False):
                self.file.seek(self.offset + int(rows[start]) * self.bytes)
                self.file.write(block[start * self.bytes : end * self.bytes])
        except OSError as error:
            raise write_error(self.path, error) from error

    def commit(self, rows: Sequence[Row]) -> None:
        """Rows to the disk first, then their stamps."""
        try:
            self.file.flush()
            os.fsync(self.file.fileno())
        except OSError as error:
            raise write_error(self.path, error) from error
        for row in rows:
            self.stamps[row.number] = row.stamp
        self._save_stamps()

    def finish(self, described: Mapping[str, Any]) -> None:
        """Say that all is there."""
        self.file.close()
        write_json(self.manifest, {**described, "shape": list(self.shape)})

    def _save_stamps(self) -> None:
        with atomic_write(self.stamped, "wb") as file:
            np.save(file, self.stamps)


def digest_of(path: Path) -> int:
    """64 bits that tell whether a file is the same; never 0."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=8)).digest()
    return int.from_bytes(digest, "little") or 1


def _header(shape: tuple[int, ...]) -> bytes:
    """What a .npy file of float16 begins with."""
    header = BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f2", "fortran_order": False, "shape": shape})
    return header.getvalue()


def _layout(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """Of such a file: where the rows begin, the bytes of a row, the size of all."""
    offset, row = len(_header(shape)), 2 * math.prod(shape[1:])
    return offset, row, offset + shape[0] * row
