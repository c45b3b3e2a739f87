"""Photographs through an encoder as fast as the encoder goes.

Worker processes decode and resize, and one thread of the calling process writes, row after row. On a CPU the process
that reads a photograph encodes it, too, with one thread: the encoder never waits for a picture, nor a core for the
other half of a layer. A GPU is the calling process's, which then does nothing but feed it.
"""

import logging
import os
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from captioning.core.errors import CaptioningError
from captioning.core.features import Features
from captioning.core.images import ImageTransform, stack
from captioning.core.progress import progress
from captioning.data.digests import digest_of_bytes
from captioning.data.feature_files import GrowingRows

log = logging.getLogger(__name__)

COMMIT_SECONDS = 5.0  # at most so much work is lost to kill -9
PROBE = 100  # photographs after which the remaining time is told, or some rounds of all workers where they are many
AT_ONCE, AT_ONCE_ON_A_GPU = 16, 64  # photographs in a batch
AHEAD = 2  # batches that each worker does ahead, and that may wait for the disk

Extract = Callable[[Tensor], Features]
Encoded = dict[str, tuple[Tensor, Tensor | None]]  # parts by name, in half precision, with the lengths (B,) they have


class Batch(NamedTuple):
    """What a worker process hands over."""

    rows: list[int]
    content: "Tensor | Encoded"  # uint8 (B, 3, height, width), or their features
    problems: list[str]  # a sentence for each picture that can't be used


def extract_rows(
    columns: Mapping[str, GrowingRows],
    files: Sequence[Path],
    digests: npt.NDArray[np.uint8],
    transform: ImageTransform,
    extract: Extract,
    device: torch.device,
    batch_size: int | None,
    workers: int | None,
) -> None:
    """Compute the rows that are missing in any of ``columns``: see ``FeatureStore.build``.

    Raises:
        CaptioningError: pictures can't be read or have changed (all are named, the rows of the others are kept),
            features don't fit in half precision or are not of the columns' shapes, or the disk is full.
    """
    todo = np.unique(np.concatenate([column.missing for column in columns.values()]))
    encode = _Encode(extract, tuple(columns), files)
    batch_size = batch_size or (AT_ONCE if device.type == "cpu" else AT_ONCE_ON_A_GPU)
    if workers is None:
        workers = min(len(os.sched_getaffinity(0)), -(-len(todo) // batch_size))
    loader = DataLoader(
        _Pictures(files, digests, todo, transform),
        batch_size=batch_size,
        num_workers=workers,
        collate_fn=_Collate(encode if device.type == "cpu" else None),
        prefetch_factor=None if workers == 0 else AHEAD,
        pin_memory=device.type == "cuda",
    )
    problems: list[str] = []
    writer = _Writer(columns, digests, files)
    estimate = _Estimate(len(todo), sum(column.missing_bytes for column in columns.values()), workers * batch_size)
    try:
        with progress([], "extracting features", len(todo), unit="photo") as bar:
            for rows, content, unused in loader:
                problems += unused
                if rows:
                    writer.put(rows, encode(rows, content) if isinstance(content, Tensor) else content)
                bar.update(len(rows) + len(unused))
                estimate.update(len(rows))
    finally:  # also when interrupted: what is computed is kept
        writer.close()
    if problems:
        raise CaptioningError(
            f"{len(problems)} pictures can't be used, so their features are missing:\n  "
            + "\n  ".join(problems)
            + "\nMend pictures that can't be read, or take them out of the annotations. "
            "The features of the others are kept."
        )


class _Pictures(Dataset[tuple[int, Tensor] | str]):
    """The photographs to be read, as (row, image), or a sentence where one can't be used."""

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
        except CaptioningError as error:
            return str(error)


@dataclass(frozen=True)
class _Encode:
    """Photographs, uint8 ``(B, 3, height, width)``, to parts of their features."""

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
    """Pictures to a batch of them, or, where there is an encoder, of their features."""

    encode: _Encode | None

    def __call__(self, items: Sequence[tuple[int, Tensor] | str]) -> Batch:
        read = [item for item in items if not isinstance(item, str)]
        rows = [row for row, _ in read]
        content: Tensor | Encoded = {}
        if read:
            content = stack([image for _, image in read])
            content = content if self.encode is None else self.encode(rows, content)
        return Batch(rows, content, [item for item in items if isinstance(item, str)])


class _Writer:
    """One thread that writes in the order of arrival, and now and then makes safe what is written."""

    def __init__(
        self, columns: Mapping[str, GrowingRows], digests: npt.NDArray[np.uint8], files: Sequence[Path]
    ) -> None:
        self.columns, self.digests, self.files = columns, digests, files
        self.thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="features")
        self.waiting: deque[Future[None]] = deque()
        self.fresh: list[int] = []
        self.committed = time.monotonic()

    def put(self, rows: Sequence[int], parts: Encoded) -> None:
        """Hand over a batch; waits only where the disk is far behind."""
        self.waiting.append(self.thread.submit(self._write, rows, parts))
        while self.waiting and (len(self.waiting) > AHEAD or self.waiting[0].done()):
            self.waiting.popleft().result()

    def close(self) -> None:
        """Write what waits, and make it safe."""
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
        """A part of a batch's features as its column takes it: on the CPU, zeros beyond the lengths.

        Raises:
            CaptioningError: the features are not finite, or not of the column's shape; a photograph has no region, or
                more than there is room for.
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
    """What is wrong with a photograph's number of regions, and what to do."""
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
    """Says once, after the first hundred photographs or so, how long the rest will take, and what disk all of them."""

    def __init__(self, total: int, bytes_of_all: int, at_once: int) -> None:
        """Take the number of photographs, and how many of them are under way at a time: they come in bursts."""
        self.total, self.gigabytes, self.at_once = total, bytes_of_all / 1e9, at_once
        self.done = self.first = 0
        self.began, self.told = 0.0, False

    def update(self, photographs: int) -> None:
        """Count a batch; the first of each worker, with its start in it, is not part of the rate."""
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
