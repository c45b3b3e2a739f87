"""Features of a frozen encoder on disk: computed once per photograph, read in every epoch.

The key of a store is the encoder, the transform, and the contents of the photographs in their order. Names and folders
of the photographs are no part of the key. A store is a folder named after a hash of its key, with one folder per part:

    <root>/<hash>/store.json             what the features depend on besides the photographs
                 /pooled/features.npy    (N, P) float16
                        /checksums.npy   (N,) uint32, the CRC-32 of each row
                        /digests.npy     (N, 16) digest of the photograph of each row that is safe on disk, else zeros
                        /manifest.json   written last: a part without a manifest is incomplete
                 /grid/…                 (N, L, D) float16
                 /objects/features.npy   (N, L, D) float16, where photographs have different numbers of regions
                         /lengths.npy    (N,) int32, the numbers of regions; the rest of a row is not written
                         /…
    <root>/<hash>.lock                   held by the process that computes
    <root>/digests/…                     see ``captioning.data.digests``

Nothing writes to a complete part. A changed photograph changes the key and so begins another store beside the old one;
the new store copies the rows of photographs that an old store has. An extraction syncs rows to the disk (``fsync``)
before the rows' lengths and checksums, and these before digests. After any interruption, the next extraction continues
with the rows that have no digest.

Dimensions: N photographs of the store, B of a batch, L regions, D features of a region, P pooled features.
"""

import hashlib
import json
import logging
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from captioning.core.errors import CaptioningError
from captioning.core.features import Features, FeatureSpec, check_part_name
from captioning.core.files import write_error, write_json
from captioning.core.images import ImageTransform
from captioning.core.locks import lock
from captioning.core.ownership import claim
from captioning.core.progress import progress
from captioning.data.digests import digests as digests_of
from captioning.data.extraction import Extract, extract_rows
from captioning.data.feature_files import (
    FORMAT,
    FinishedRows,
    GrowingRows,
    StoredRows,
    finished_shape,
    load_digests,
    read_object,
)
from captioning.data.photos import require_files

log = logging.getLogger(__name__)

EARLIER_PARTS = ("pooled", "grid")  # the parts in stores of earlier formats
DESCRIPTION = "store.json"
SPARE = 64 << 20  # the bytes that an extraction leaves free on the disk
COPIED = 64 << 20  # the bytes of another store's rows that are copied at once
CPU = torch.device("cpu")


class FeatureStore:
    """The stored features of N photographs, by number.

    Rows are copied out of the file (``preadv``), not read through a mapping: pages touched through a mapping count as
    resident memory, up to the whole file. ``numpy.load(…/features.npy, mmap_mode="r")`` maps the same file. Each
    process opens the files on its first read, so that a store can be passed to worker processes of any start method.
    The first read of a row in a process compares the row's checksum.
    """

    def __init__(self, folder: str | os.PathLike[str], parts: Sequence[str] | None = None) -> None:
        """Open a store that ``build`` has completed.

        Args:
            folder: the store's own folder, ``<root>/<hash>``.
            parts: the names of the parts to read; None for all parts of the store.

        Raises:
            CaptioningError: the store is missing, or a part is missing, incomplete or truncated.
        """
        self.folder = Path(folder)
        if parts is None:
            parts = [path.name for path in _folders(self.folder)] if self.folder.is_dir() else []
            if not parts:
                raise CaptioningError(f"{folder}: there is no such complete store of features. Check the path.")
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
        parts: Sequence[str] | None = None,
        batch_size: int | None = None,
        workers: int | None = None,
        actors: int = 0,
    ) -> "FeatureStore":
        """Open the store of these photographs, after computing its missing rows.

        A complete store is opened without a lock and without a write. Of several processes that build the same store at
        the same time, one computes; the others wait for the complete store.

        Args:
            root: the folder of all stores.
            key: the JSON values that the features depend on besides the photographs:
                ``{"encoder": encoder.fingerprint()}``.
            spec: the features' shapes.
            transform: the transform from an image to the encoder's input.
            paths: the photographs' files; row n belongs to ``paths[n]``. Photographs may be moved and renamed.
            extractor: a function, called if features are missing, that returns the encoder: a function from uint8
                ``(B, 3, height, width)`` on the CPU to features on ``device``; B varies.
            device: the encoder's device. On the CPU each process that decodes images also encodes them, with one
                thread; on a GPU the calling process encodes.
            parts: the names of the parts to store; None for all parts. (A grid takes a hundred times the disk space of
                pooled features.)
            batch_size: the number of photographs encoded at once; None for few in each process on the CPU, many on a
                GPU.
            workers: the number of processes that decode images; None for one per core, 0 for the calling process alone.
            actors: the number of processes that decode and encode instead, on one machine or many, see
                ``captioning.core.actors``; 0 for none. The calling process writes. The photographs and the modules of
                the encoder are where they are on this machine.

        Raises:
            CaptioningError: images are missing, can't be read or change meanwhile (computed rows are kept), files of
                the store are damaged, the store's folder holds something else, the disk is full or too small; a part is
                not in ``spec`` or its name is no valid folder name; features do not fit in half precision or ``spec``,
                or a photograph has no region.
        """
        parts = list(spec) if parts is None else list(parts)
        for part in parts:
            check_part_name(part)
        files = [Path(path) for path in paths]
        require_files(files)
        root = Path(root)
        digests = digests_of(files, root / "digests")
        described = {**key, "format": FORMAT, "spec": spec.to_json()}
        described["transform"] = transform.to_dict()
        whole = {**described, "photographs": hashlib.sha256(digests.tobytes()).hexdigest()}
        folder = root / hashlib.sha256(_canonical(whole).encode()).hexdigest()[:16]
        shapes = {part: (len(files), *spec.stored(part)) for part in parts}
        if not _incomplete(folder, shapes):
            return cls(folder, parts)
        with _locked(folder):
            incomplete = _incomplete(folder, shapes)
            if incomplete:
                claim(folder, "features", "features")
                columns = {
                    part: GrowingRows(folder / part, shape, part in spec.varying) for part, shape in incomplete.items()
                }
                _begin(folder, columns, described)
                _copy_rows(folder, columns, digests, described)
                if any(len(column.missing) for column in columns.values()):
                    extract_rows(columns, files, digests, transform, extractor, device, batch_size, workers, actors)
                for column in columns.values():
                    column.finish(whole)
        return cls(folder, parts)

    def __len__(self) -> int:
        """The number of photographs N."""
        return next(iter(self._columns.values())).shape[0]

    def __getitem__(self, images: Tensor | Sequence[int]) -> Features:
        """The features of B photographs.

        Args:
            images: ``(B,)`` row numbers.

        Returns:
            The opened parts, ``(B, P)`` or ``(B, L, D)``, float16 on the CPU; for a varying part with lengths, and with
            the most regions among the B photographs as L.
        """
        rows = images.tolist() if isinstance(images, Tensor) else list(images)
        parts, lengths = {}, {}
        for part, column in self._columns.items():
            parts[part], length = column.read(rows)
            if length is not None:
                lengths[part] = length
        return Features(lengths, **parts)


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


def _incomplete(folder: Path, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    """The incomplete parts of a store, with the parts' shapes."""
    return {part: shape for part, shape in shapes.items() if finished_shape(folder / part) != shape}


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Lock a store against other processes that would write to the store."""
    path = folder.with_name(f"{folder.name}.lock")  # beside the folder, which stays empty until its claim
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise write_error(path.parent, error) from error
    with lock(path, wait=True):
        yield


def _begin(folder: Path, columns: Mapping[str, GrowingRows], described: Mapping[str, Any]) -> None:
    """Create the files of a store, or of parts added to the store."""
    _require_space(folder, columns)
    _report_earlier(folder.parent)
    description = {"photographs": next(iter(columns.values())).shape[0], "features": described}
    if _canonical(read_object(folder / DESCRIPTION)) != _canonical(description):
        write_json(folder / DESCRIPTION, description)
    for column in columns.values():
        column.begin()


def _require_space(folder: Path, columns: Mapping[str, GrowingRows]) -> None:
    """Raise a disk-space error before the extraction instead of in its middle."""
    needed = sum(column.missing_bytes for column in columns.values())
    free = shutil.disk_usage(folder).free
    if needed + SPARE > free:
        raise CaptioningError(
            f"{folder}: the features need {needed / 1e9:.1f} GB and the disk has {free / 1e9:.1f} GB free. Free some "
            "space, choose another folder, or a decoder that reads fewer or smaller parts of the features."
        )
    log.info("%s: %.1f GB of features to store, %.1f GB free", folder, needed / 1e9, free / 1e9)


def _report_earlier(root: Path) -> None:
    """Report the stores of earlier formats, which nothing reads any more: their rows have stamps and no digests."""
    earlier = [each for each in _folders(root) if any(_is_file(each / part / "stamps.npy") for part in EARLIER_PARTS)]
    if earlier:
        log.warning(
            "%s: an earlier version stored features there (%.1f GB), which are not read any more. Delete %s.",
            root,
            sum(_disk_usage(each) for each in earlier) / 1e9,
            ", ".join(each.name for each in earlier),
        )


def _copy_rows(
    folder: Path, columns: Mapping[str, GrowingRows], digests: npt.NDArray[np.uint8], described: Mapping[str, Any]
) -> None:
    """Copy the rows that complete or incomplete stores of the same encoder and transform have."""
    total, sources = _uncomputed(columns), []
    for other in _folders(folder.parent):
        description = read_object(other / DESCRIPTION)
        photographs = description.get("photographs")
        same = _canonical(description.get("features")) == _canonical(described)
        if same and other != folder and isinstance(photographs, int):
            copied = [_copy_part(other / part, photographs, column, digests) for part, column in columns.items()]
            sources += [other] if any(copied) else []
    if sources:
        log.info(
            "%s: the features of %d of %d photographs are copied from %s (%.1f GB). Delete an old store "
            "that no run needs any more.",
            folder,
            total - _uncomputed(columns),
            total,
            ", ".join(source.name for source in sources),
            sum(_disk_usage(source) for source in sources) / 1e9,
        )


def _copy_part(other: Path, photographs: int, column: GrowingRows, digests: npt.NDArray[np.uint8]) -> int:
    """Copy the rows of the same photographs from one part of another store.

    Args:
        other: the folder of the other store's part.
        photographs: the number of rows in that part.
        column: the target of the copies.
        digests: ``(N, 16)``, the digests of the photographs of ``column``.

    Returns:
        The number of copied rows.
    """
    there = load_digests(other, photographs) if len(column.missing) else None
    if there is None:
        return 0
    places = {digest.tobytes(): place for place, digest in enumerate(there) if digest.any()}
    rows = [row for row in column.missing.tolist() if digests[row].tobytes() in places]
    at_once = max(1, COPIED // column.bytes)
    copied = 0
    for start in progress(range(0, len(rows), at_once), "copying features"):
        block = rows[start : start + at_once]
        try:
            source = StoredRows(other, (photographs, *column.shape[1:]), column.varying)
            values, lengths = source.read([places[digests[row].tobytes()] for row in block])
        except CaptioningError:  # damaged, or deleted meanwhile: its rows are computed anew
            break
        column.write(np.array(block, np.int64), values, lengths)
        column.commit(block, digests)
        copied += len(block)
    return copied


def _uncomputed(columns: Mapping[str, GrowingRows]) -> int:
    """The number of photographs without a row in at least one part."""
    return len(np.unique(np.concatenate([column.missing for column in columns.values()])))


def _folders(root: Path) -> list[Path]:
    return sorted(path for path in root.iterdir() if path.is_dir())


def _is_file(path: Path) -> bool:
    return os.path.isfile(path)  # noqa: PTH113  # Path.is_file raises in a folder that can't be entered


def _disk_usage(folder: Path) -> int:
    """The disk space of the files in a folder, in bytes."""
    total = 0
    for path in folder.rglob("*"):
        with suppress(OSError):  # deleted meanwhile
            status = path.stat()
            total += 512 * status.st_blocks if hasattr(status, "st_blocks") else status.st_size  # Windows has none
    return total
