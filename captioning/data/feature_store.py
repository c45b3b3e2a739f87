"""Features of a frozen encoder on disk: computed once per photograph, read in every epoch.

The key of a store is the encoder, the transform, and the contents of the photographs in their order. Names and folders
of the photographs are no part of the key. A store is a folder named after a hash of its key, with one folder per part:

    <root>/<hash>/store.json             what the features depend on besides the photographs
                 /pooled/features.npy    (N, P) float16
                        /digests.npy     (N, 16) digest of the photograph of each row that is safe on disk, else zeros
                        /manifest.json   written last: a part without it is not complete
                 /grid/…                 (N, L, D) float16
                 /objects/features.npy   (N, L, D) float16, where photographs have different numbers of regions
                         /lengths.npy    (N,) int32, the numbers: what lies beyond them is not written
                         /…
    <root>/<hash>.lock                   held by the process that computes
    <root>/digests/…                     see ``captioning.data.digests``

Nothing writes to a part that is complete. A changed photograph makes another key, so that another store is begun beside
the old one; the rows of photographs that an old store has are copied from it. An extraction brings rows to the disk
(``fsync``) before their lengths, and these before their digests: whatever interrupts it, the next one goes on with the
rows that have no digest.

Dimensions: N photographs of the store, B of a batch, L regions, D numbers of a region, P pooled features.
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

EARLIER_PARTS = ("pooled", "grid")  # of stores of earlier formats
DESCRIPTION = "store.json"
SPARE = 64 << 20  # bytes that an extraction leaves free on the disk
COPIED = 64 << 20  # bytes of another store's rows that are copied at a time
CPU = torch.device("cpu")


class FeatureStore:
    """The stored features of N photographs, by number.

    Reading copies rows out of the file (``preadv``) rather than through a mapping: pages that a mapping has touched
    count as resident memory until the whole file does. ``numpy.load(…/features.npy, mmap_mode="r")`` maps the same
    file. Files are opened in the process that reads, on its first read, so a store may be handed to worker processes
    however they are started.
    """

    def __init__(self, folder: str | os.PathLike[str], parts: Sequence[str] | None = None) -> None:
        """Open what ``build`` has completed.

        Args:
            folder: the store's own folder, ``<root>/<hash>``.
            parts: what to read; None for all parts that are there.

        Raises:
            CaptioningError: a part is not there, not complete, or cut short; there is no store.
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
    ) -> "FeatureStore":
        """Open the store of these photographs; compute first what is missing of it.

        A store that is complete is opened without a lock, and nothing is written to it. Processes that build the same
        store at the same time wait for the first, then find it complete.

        Args:
            root: the folder of all stores.
            key: what else the features depend on, JSON values: ``{"encoder": encoder.fingerprint()}``.
            spec: the features' shapes.
            transform: from a picture to the encoder's input.
            paths: the photographs; row n belongs to ``paths[n]``. Photographs may be moved and renamed.
            extractor: asked, where features are missing, for what brings uint8 ``(B, 3, height, width)`` on the CPU to
                features on ``device``; B varies.
            device: where that computes. On the CPU each process that decodes pictures does it by itself, with one
                thread; on a GPU the calling process does.
            parts: what to store, since a grid takes a hundred times the disk of pooled features; None for all parts.
            batch_size: photographs at a time; None for few in each process on the CPU, many on a GPU.
            workers: processes that decode pictures; None for one a core, 0 for the calling process alone.

        Raises:
            CaptioningError: pictures are missing, can't be read or change meanwhile (what could be computed is kept),
                files of the store are damaged, the store's folder holds something else, the disk is full or too small;
                a part is not in ``spec`` or its name can't be a folder's; features do not fit in half precision or are
                not as ``spec`` says, or a photograph has no region.
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
                    extract_rows(columns, files, digests, transform, extractor(), device, batch_size, workers)
                for column in columns.values():
                    column.finish(whole)
        return cls(folder, parts)

    def __len__(self) -> int:
        """N."""
        return next(iter(self._columns.values())).shape[0]

    def __getitem__(self, images: Tensor | Sequence[int]) -> Features:
        """The features of some photographs.

        Args:
            images: ``(B,)`` row numbers.

        Returns:
            The parts that the store was opened for, ``(B, P)`` or ``(B, L, D)``, float16 on the CPU; of a varying part
            with lengths, and L of the photograph of them that has most regions.
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
    """Those parts of a store, with their shapes, that are not complete."""
    return {part: shape for part, shape in shapes.items() if finished_shape(folder / part) != shape}


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold a store against other processes that would write to it."""
    path = folder.with_name(f"{folder.name}.lock")  # beside the folder, which is empty until it is claimed
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise write_error(path.parent, error) from error
    with lock(path, wait=True):
        yield


def _begin(folder: Path, columns: Mapping[str, GrowingRows], described: Mapping[str, Any]) -> None:
    """Make the files of a store, or of parts that are added to it."""
    _require_space(folder, columns)
    _report_earlier(folder.parent)
    description = {"photographs": next(iter(columns.values())).shape[0], "features": described}
    if _canonical(read_object(folder / DESCRIPTION)) != _canonical(description):
        write_json(folder / DESCRIPTION, description)
    for column in columns.values():
        column.begin()


def _require_space(folder: Path, columns: Mapping[str, GrowingRows]) -> None:
    """Raise before the extraction what the disk would raise in the middle of it."""
    needed = sum(column.missing_bytes for column in columns.values())
    free = shutil.disk_usage(folder).free
    if needed + SPARE > free:
        raise CaptioningError(
            f"{folder}: the features need {needed / 1e9:.1f} GB and the disk has {free / 1e9:.1f} GB free. Free some "
            "space, choose another folder, or a decoder that reads fewer or smaller parts of the features."
        )
    log.info("%s: %.1f GB of features to store, %.1f GB free", folder, needed / 1e9, free / 1e9)


def _report_earlier(root: Path) -> None:
    """Say which stores nothing reads any more: those of earlier formats, whose rows have stamps and no digests."""
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
    """Copy the rows of photographs that stores of the same encoder and transform have, complete or not."""
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
    """Copy the rows that one part of another store has.

    Args:
        other: the part's folder.
        photographs: the number of rows there.
        column: to copy to.
        digests: ``(N, 16)``, of the photographs of ``column``.

    Returns:
        The number of rows that are copied.
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
        except CaptioningError:  # damaged, or deleted meanwhile: the rows are computed
            break
        column.write(np.array(block, np.int64), values, lengths)
        column.commit(block, digests)
        copied += len(block)
    return copied


def _uncomputed(columns: Mapping[str, GrowingRows]) -> int:
    """The number of photographs that lack a row in any part."""
    return len(np.unique(np.concatenate([column.missing for column in columns.values()])))


def _folders(root: Path) -> list[Path]:
    return sorted(path for path in root.iterdir() if path.is_dir())


def _is_file(path: Path) -> bool:
    return os.path.isfile(path)  # noqa: PTH113  # Path.is_file raises in a folder that can't be entered


def _disk_usage(folder: Path) -> int:
    """Bytes that the files in a folder take."""
    total = 0
    for path in folder.rglob("*"):
        with suppress(OSError):  # deleted meanwhile
            total += 512 * path.stat().st_blocks
    return total
