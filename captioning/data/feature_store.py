"""Features of a frozen encoder on disk: computed once per photograph, read in every epoch.

A store is a folder named after a hash of its key (encoder, transform, image names), with one folder per part:

    <root>/<hash>/pooled/features.npy   (N, P) float16
                        /stamps.npy     (N,) size, time and digest of the picture that each row was computed from
                        /manifest.json  written last: without it nothing is read
    <root>/<hash>/grid/…                (N, L, D) float16

A row counts as computed once its stamp is on disk, and the stamps are written, whole, only after the rows have reached
the disk (``fsync``). So whatever interrupts an extraction, the next one goes on with the rows that have no stamp; and a
picture that has changed since loses its stamp and is computed again, it alone.

Dimensions: N photographs of the store, B of a batch, L regions, D grid features, P pooled features.
"""

import fcntl
import hashlib
import json
import logging
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from captioning.core.errors import CaptioningError
from captioning.core.features import Features, FeatureSpec, Part
from captioning.core.files import write_error
from captioning.core.images import ImageTransform
from captioning.data.extraction import Extract, extract_rows
from captioning.data.feature_files import FORMAT, STAMP, FinishedRows, GrowingRows, digest_of
from captioning.data.photos import require_files

log = logging.getLogger(__name__)

PARTS: tuple[Part, ...] = ("pooled", "grid")
SPARE = 64 << 20  # bytes that an extraction leaves free on the disk
CPU = torch.device("cpu")


class FeatureStore:
    """The stored features of N photographs, by number.

    Reading copies rows out of the file (``preadv``) rather than through a mapping: pages that a mapping has touched
    count as resident memory until the whole file does. ``numpy.load(…/features.npy, mmap_mode="r")`` maps the same
    file. Files are opened in the process that reads, on its first read, so a store may be handed to worker processes
    however they are started.
    """

    def __init__(self, folder: str | os.PathLike[str], parts: Sequence[Part] = PARTS) -> None:
        """Open what ``build`` has completed.

        Args:
            folder: the store's own folder, ``<root>/<hash>``.
            parts: what to read.

        Raises:
            CaptioningError: a part is not there, not complete, or cut short.
        """
        self.folder = Path(folder)
        self._columns = {part: FinishedRows(self.folder / part) for part in parts}

    @classmethod
    def build(
        cls,
        root: str | os.PathLike[str],
        *,
        key: Mapping[str, Any],
        spec: FeatureSpec,
        transform: ImageTransform,
        paths: Sequence[str | os.PathLike[str]],
        extractor: Callable[[], Extract],
        device: torch.device = CPU,
        parts: Sequence[Part] = PARTS,
        batch_size: int | None = None,
        workers: int | None = None,
    ) -> "FeatureStore":
        """Open the store of these photographs; compute first what is missing of it.

        Processes that build the same store at the same time wait for the first, then find it complete.

        Args:
            root: the folder of all stores.
            key: what else the features depend on, JSON values: ``{"encoder": encoder.fingerprint()}``.
            spec: the features' sizes.
            transform: from a picture to the encoder's input.
            paths: the photographs; row n belongs to ``paths[n]``. Their names below the folder that they have in
                common are part of the key, that folder is not: pictures may move together.
            extractor: asked, where features are missing, for what brings uint8 ``(B, 3, height, width)`` on the CPU to
                features on ``device``; B varies.
            device: where that computes. On the CPU each process that decodes pictures does it by itself, with one
                thread; on a GPU the calling process does.
            parts: what to store, since a grid takes a hundred times the disk of pooled features.
            batch_size: photographs at a time; None for few in each process on the CPU, many on a GPU.
            workers: processes that decode pictures; None for one a core, 0 for the calling process alone.

        Raises:
            CaptioningError: pictures are missing or can't be read (all are named; what could be computed is kept), the
                disk is full or too small, or features do not fit in half precision.
        """
        files = [Path(path) for path in paths]
        require_files(files)
        described = {
            "format": FORMAT,
            **key,
            "spec": [spec.pooled, spec.grid, *spec.shape],
            "transform": transform.to_dict(),
            "images": _names(files),
        }
        folder = Path(root) / hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()[:16]
        shapes = {"pooled": (spec.pooled,), "grid": (spec.regions, spec.grid)}
        with _lock(folder):
            seen, digest = _seen(files), cache(digest_of)
            columns: dict[str, GrowingRows] = {
                part: GrowingRows(folder / part, (len(files), *shapes[part])) for part in parts
            }
            for column in columns.values():
                column.forget_changed(files, seen, digest)
            incomplete = {part: column for part, column in columns.items() if not column.complete}
            if incomplete:
                _require_space(folder, incomplete)
                for column in incomplete.values():
                    column.begin()
                extract_rows(incomplete, files, transform, extractor(), device, batch_size, workers)
                for column in incomplete.values():
                    column.finish(described)
        return cls(folder, parts)

    def __len__(self) -> int:
        """N."""
        return next(iter(self._columns.values())).shape[0]

    def __getitem__(self, images: Tensor | Sequence[int]) -> Features:
        """The features of some photographs.

        Args:
            images: ``(B,)`` row numbers.

        Returns:
            ``pooled (B, P)`` and ``grid (B, L, D)``, those that the store was opened for, float16 on the CPU.
        """
        rows = images.tolist() if isinstance(images, Tensor) else list(images)
        return Features(**{part: column.read(rows) for part, column in self._columns.items()})


def _names(files: Sequence[Path]) -> str:
    """A hash of the files' names, in their order, below the folder that they have in common."""
    common = os.path.commonpath([path.absolute().parent for path in files])
    names = "\n".join(path.absolute().relative_to(common).as_posix() for path in files)
    return hashlib.sha256(names.encode()).hexdigest()


def _seen(files: Sequence[Path]) -> npt.NDArray[Any]:
    """Size and time of every file, ``(N,)``."""
    seen = np.zeros(len(files), STAMP)
    for row, path in enumerate(files):
        status = path.stat()
        seen[row] = (status.st_size, status.st_mtime_ns, 0)
    return seen


def _require_space(folder: Path, columns: Mapping[str, GrowingRows]) -> None:
    """Raise before the extraction what the disk would raise in the middle of it."""
    needed = sum(column.missing_bytes for column in columns.values())
    free = shutil.disk_usage(folder).free
    if needed + SPARE > free:
        raise CaptioningError(
            f"{folder}: the features need {needed / 1e9:.1f} GB and the disk has {free / 1e9:.1f} GB free. Free some "
            "space, choose another folder, or a decoder that reads pooled features alone."
        )
    log.info("%s: %.1f GB of features to compute, %.1f GB free", folder, needed / 1e9, free / 1e9)


@contextmanager
def _lock(folder: Path) -> Iterator[None]:
    """Hold ``folder`` against other processes that would write the same store."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / "lock").open("w")
    except OSError as error:
        raise write_error(folder, error) from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            log.info("%s: another process computes these features; waiting for it", folder)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
