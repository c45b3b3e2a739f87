"""Extraction of features from photographs at the speed of the encoder.

Worker processes decode and resize, and one thread of the calling process writes, row after row. On a CPU, the process
that reads a photograph also encodes it, with one thread: the encoder never waits for an image, nor one core for another
within a layer. A GPU belongs to the calling process, which then only feeds the GPU. Actors on several machines
(``captioning.core.actors``) read and encode, each with its own GPU if there is one, and the calling process writes.
"""

import logging
import time
from collections import deque
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from captioning.core.actors import map_by_actors
from captioning.core.errors import CaptioningError
from captioning.core.features import Features
from captioning.core.images import ImageTransform, stack
from captioning.core.progress import progress
from captioning.core.signals import end_when_unheard, outlast_signals
from captioning.core.system import processors
from captioning.data.digests import digest_of_bytes
from captioning.data.feature_files import GrowingRows

log = logging.getLogger(__name__)

COMMIT_SECONDS = 5.0  # the most work that kill -9 can lose
PROBE = 100  # photographs before the estimate of the remaining time; with many workers, some rounds of all of them
AT_ONCE, AT_ONCE_ON_A_GPU = 16, 64  # photographs in a batch
AHEAD = 2  # batches that each worker prepares ahead, and that may wait for the disk

Extract = Callable[[Tensor], Features]
Encoded = dict[str, tuple[Tensor, Tensor | None]]  # parts by name, in half precision, with the lengths (B,) if varying

Found = tuple[list[int], Encoded, list[str]]  # of a batch: rows, features, a sentence for each unusable image


class Batch(NamedTuple):
    """A batch that a worker process returns."""

    rows: list[int]
    content: "Tensor | Encoded"  # uint8 (B, 3, height, width), or the features
    problems: list[str]  # a sentence for each unusable image


def extract_rows(
    columns: Mapping[str, GrowingRows],
    files: Sequence[Path],
    digests: npt.NDArray[np.uint8],
    transform: ImageTransform,
    extractor: Callable[[], Extract],
    device: torch.device,
    batch_size: int | None,
    workers: int | None,
    actors: int,
) -> None:
    """Compute the rows that any of ``columns`` lacks, see ``FeatureStore.build``.

    Raises:
        CaptioningError: images can't be read or have changed (the error names all of them, the rows of the others are
            kept), features don't fit in half precision or are not of the columns' shapes, or the disk is full.
    """
    todo = np.unique(np.concatenate([column.missing for column in columns.values()]))
    batch_size = batch_size or (AT_ONCE if device.type == "cpu" else AT_ONCE_ON_A_GPU)
    if workers is None:
        workers = min(processors(), -(-len(todo) // batch_size))
    pictures, parts = _Pictures(files, digests, todo, transform), tuple(columns)
    if actors:
        pieces = np.array_split(np.arange(len(todo)), -(-len(todo) // batch_size))
        make = partial(_Actor, pictures, extractor, parts, files, device)
        batches = map_by_actors(make, [piece.tolist() for piece in pieces], actors, device.type)
    else:
        batches = _by_workers(pictures, _Encode(extractor(), parts, files), device, batch_size, workers)
    problems: list[str] = []
    writer = _Writer(columns, digests, files)
    at_once = batch_size * (actors or workers)
    estimate = _Estimate(len(todo), sum(column.missing_bytes for column in columns.values()), at_once)
    try:
        with progress([], "extracting features", len(todo), unit="photos") as bar, closing(batches):
            for rows, encoded, unused in batches:
                problems += unused
                if rows:
                    writer.put(rows, encoded)
                bar.update(len(rows) + len(unused))
                estimate.update(len(rows))
    finally:  # also when interrupted: keep the computed rows
        writer.close()
    if problems:
        raise CaptioningError(
            f"{len(problems)} pictures can't be used, so their features are missing:\n  "
            + "\n  ".join(problems)
            + "\nMend pictures that can't be read, or take them out of the annotations. "
            "The features of the others are kept."
        )


def _by_workers(
    pictures: "_Pictures", encode: "_Encode", device: torch.device, batch_size: int, workers: int
) -> Generator[Found, None, None]:
    """The features of all pictures, by worker processes and, on a GPU, the calling process."""
    loader = DataLoader(
        pictures,
        batch_size=batch_size,
        num_workers=workers,
        worker_init_fn=_begin_worker,
        collate_fn=_Collate(encode if device.type == "cpu" else None),
        prefetch_factor=None if workers == 0 else AHEAD,
        pin_memory=device.type == "cuda",
    )
    for rows, content, problems in loader:
        yield rows, encode(rows, content) if isinstance(content, Tensor) else content, problems


def _begin_worker(_: int) -> None:
    end_when_unheard()
    outlast_signals()  # the calling process ends its workers


class _Pictures(Dataset[tuple[int, Tensor] | str]):
    """The photographs to read, as (row, image), or as a sentence for an unusable image."""

    def __init__(
        self,
        files: Sequence[Path],
        digests: npt.NDArray[np.uint8],
        todo: npt.NDArray[np.int64],
        transform: ImageTransform,
    ) -> None:
        self.files = [str(files[row]) for row in todo]
        self.digests = digests[todo]
        self.todo, self.transform = todo, transform

    def __len__(self) -> int:
        return len(self.todo)

    def __getitem__(self, index: int) -> tuple[int, Tensor] | str:
        path = Path(self.files[index])
        try:
            content = path.read_bytes()
            if digest_of_bytes(content) != self.digests[index].tobytes():
                return f"{path}: it has changed while features were computed. Run again."
            return int(self.todo[index]), self.transform.read(path, content)
        except OSError as error:
            return f"{path}: can't be read ({error.strerror or error}). Check its permissions."
        except CaptioningError as error:  # whatever a decoder raises
            return str(error)


@dataclass(frozen=True)
class _Encode:
    """A function from photographs, uint8 ``(B, 3, height, width)``, to the parts of their features."""

    extract: Extract
    parts: Sequence[str]
    files: Sequence[Path]

    def __call__(self, rows: Sequence[int], images: Tensor) -> Encoded:
        try:
            return self._encode(images)
        except CaptioningError:
            for row, image in zip(rows, images, strict=True):
                try:
                    self._encode(image[None])
                except CaptioningError as error:
                    raise CaptioningError(f"{self.files[row]}: {error}") from error
            raise

    def _encode(self, images: Tensor) -> Encoded:
        with torch.inference_mode():
            features = self.extract(images)
            return {part: (features[part].half(), features.lengths.get(part)) for part in self.parts}


@dataclass(frozen=True)
class _Collate:
    """A function from images to a batch of images, or, with an encoder, of features."""

    encode: _Encode | None

    def __call__(self, items: Sequence[tuple[int, Tensor] | str]) -> Batch:
        read = [item for item in items if not isinstance(item, str)]
        rows = [row for row, _ in read]
        content: Tensor | Encoded = {}
        if read:
            content = stack([image for _, image in read])
            content = content if self.encode is None else self.encode(rows, content)
        return Batch(rows, content, [item for item in items if isinstance(item, str)])


class _Actor:
    """The reading and encoding of pictures by their places, in a process of its own, perhaps on another machine."""

    def __init__(
        self,
        pictures: _Pictures,
        extractor: Callable[[], Extract],
        parts: Sequence[str],
        files: Sequence[Path],
        device: torch.device,
    ) -> None:
        if device.type == "cpu":
            torch.set_num_threads(1)  # an actor has one processor
        self.pictures, self.collate = pictures, _Collate(_Encode(extractor(), parts, files))

    def __call__(self, places: Sequence[int]) -> Found:
        """The features, on the CPU."""
        rows, encoded, problems = self.collate([self.pictures[place] for place in places])
        assert not isinstance(encoded, Tensor)
        on_cpu = {
            name: (values.cpu(), None if lengths is None else lengths.cpu())
            for name, (values, lengths) in encoded.items()
        }
        return rows, on_cpu, problems


class _Writer:
    """A thread that writes in the order of arrival and regularly syncs the written rows to the disk."""

    def __init__(
        self, columns: Mapping[str, GrowingRows], digests: npt.NDArray[np.uint8], files: Sequence[Path]
    ) -> None:
        self.columns, self.digests, self.files = columns, digests, files
        self.thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="features")
        self.waiting: deque[Future[None]] = deque()
        self.fresh: list[int] = []
        self.committed = time.monotonic()

    def put(self, rows: Sequence[int], parts: Encoded) -> None:
        """Queue a batch; block only while the disk is far behind."""
        self.waiting.append(self.thread.submit(self._write, rows, parts))
        while self.waiting and (len(self.waiting) > AHEAD or self.waiting[0].done()):
            self.waiting.popleft().result()

    def close(self) -> None:
        """Write the queued batches and sync them to the disk."""
        try:
            while self.waiting:
                self.waiting.popleft().result()
        finally:
            self.thread.shutdown()
            self._commit()

    def _write(self, rows: Sequence[int], parts: Encoded) -> None:
        numbers = np.array(rows, dtype=np.int64)
        checked = {part: self._checked(part, rows, *given) for part, given in parts.items()}
        for part, (values, lengths) in checked.items():
            self.columns[part].write(numbers, values, lengths)
        self.fresh += rows
        if time.monotonic() - self.committed > COMMIT_SECONDS:
            self._commit()

    def _checked(
        self, part: str, rows: Sequence[int], values: Tensor, lengths: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        """A part of a batch's features in its column's form: on the CPU, zeros beyond the lengths.

        Raises:
            CaptioningError: the features are not finite, or not of the column's shape; a photograph has no region, or
                more regions than the column holds.
        """
        column, values = self.columns[part], values.cpu()
        row, given = tuple(column.shape[1:]), tuple(values.shape[1:])
        if column.varying and len(given) == 2 and given[1] == row[1]:
            lengths = torch.full((len(rows),), given[0]) if lengths is None else lengths.cpu().long()
            for place, length in enumerate(lengths.tolist()):
                if not 1 <= length <= min(row[0], given[0]):
                    raise CaptioningError(_misfit(self.files[rows[place]], part, length, row[0]))
            beyond = torch.arange(given[0]) >= lengths.unsqueeze(1)
            values = values.masked_fill(beyond.unsqueeze(-1), 0)
        elif given != row or lengths is not None:
            with_lengths = "" if lengths is None else " with lengths"
            raise CaptioningError(
                f"The encoder's {part} features are {given} of each photograph{with_lengths}, and its spec says {row}. "
                "Its encode must give what its spec says."
            )
        if not bool(values.sum(dtype=torch.float32).isfinite()):  # one pass; an infinity or NaN reaches the sum
            raise CaptioningError(
                f"The encoder's {part} features are not finite numbers in half precision. Check its weights."
            )
        return values, lengths

    def _commit(self) -> None:
        for column in self.columns.values():
            column.commit(self.fresh, self.digests)
        self.fresh.clear()
        self.committed = time.monotonic()


def _misfit(path: Path, part: str, length: int, most: int) -> str:
    """The error message for a photograph's number of regions, with the remedy."""
    if length < 1:
        return (
            f"{path}: the encoder finds no region in it for its {part} features, and attention needs one at least. "
            "Let encode give such a photograph one region, for example all of it."
        )
    return (
        f"{path}: the encoder gives {length} regions of its {part} features, and its spec has room for {most}. Keep "
        f"fewer in encode, or name more where the encoder is made: most={{{part!r}: {length}}}."
    )


class _Estimate:
    """The estimate of the remaining time and of the total disk space, logged once after about a hundred photographs."""

    def __init__(self, total: int, bytes_of_all: int, at_once: int) -> None:
        """Take the number of photographs, and the number in progress at once: photographs arrive in bursts."""
        self.total, self.gigabytes, self.at_once = total, bytes_of_all / 1e9, at_once
        self.done = self.first = 0
        self.began, self.told = 0.0, False

    def update(self, photographs: int) -> None:
        """Count a batch; the rate leaves out each worker's first batch, which includes the worker's start."""
        self.done += photographs
        if self.done <= self.at_once or not self.began:
            self.first, self.began = self.done, time.monotonic()
        elif not self.told and self.done - self.first >= max(PROBE, 3 * self.at_once) and self.done < self.total:
            self.told = True
            rate = (self.done - self.first) / (time.monotonic() - self.began)
            log.info(
                "%d photographs, %.1f GB of features: about %.1f minutes at %.0f photographs a second. What is done by "
                "then is kept where you stop it.",
                self.total,
                self.gigabytes,
                (self.total - self.done) / rate / 60,
                rate,
            )
