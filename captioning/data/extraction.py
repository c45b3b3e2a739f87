"""Photographs through an encoder as fast as the encoder goes.

Worker processes decode and resize, the calling process only runs the encoder, and one thread writes, row after row.
"""

import logging
import os
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from captioning.core.errors import CaptioningError
from captioning.core.features import Features
from captioning.core.images import ImageTransform
from captioning.core.progress import progress
from captioning.data.feature_files import GrowingRows, Row, digest_of

log = logging.getLogger(__name__)

COMMIT_SECONDS = 5.0  # at most so much work is lost to kill -9
PROBE = 100  # photographs after which the remaining time is told
AHEAD = 4  # batches that each worker decodes ahead, and that may wait for the disk


class Batch(NamedTuple):
    """What a worker process hands over."""

    rows: list[Row]
    images: Tensor  # uint8 (B, 3, height, width)
    problems: list[str]  # a sentence for each picture that can't be read


def extract_rows(
    columns: Mapping[str, GrowingRows],
    files: Sequence[Path],
    transform: ImageTransform,
    extract: Callable[[Tensor], Features],
    batch_size: int,
    workers: int | None,
) -> None:
    """Compute the rows that are missing in any of ``columns``.

    Raises:
        CaptioningError: pictures can't be read (all are named, the rows of the others are kept), features don't fit in
            half precision, or the disk is full.
    """
    todo = np.unique(np.concatenate([column.missing for column in columns.values()]))
    cores = len(os.sched_getaffinity(0))
    loader = DataLoader(
        _Pictures(files, todo, transform),
        batch_size=batch_size,
        num_workers=max(1, cores // 2) if workers is None else workers,
        collate_fn=_collate,
        prefetch_factor=None if workers == 0 else AHEAD,
        pin_memory=torch.cuda.is_available(),
    )
    problems: list[str] = []
    writer = _Writer(columns)
    told = _Estimate(len(todo))
    try:
        with torch.inference_mode(), progress([], "extracting features", len(todo), unit="photo") as bar:
            for batch in loader:
                problems += batch.problems
                if batch.rows:
                    features = extract(batch.images)
                    writer.put(batch.rows, {part: getattr(features, part).half() for part in columns})
                bar.update(len(batch.rows) + len(batch.problems))
                told.update(len(batch.rows))
    finally:  # also when interrupted: what is computed is kept
        writer.close()
    if problems:
        raise CaptioningError(
            f"{len(problems)} pictures can't be read, so their features are missing:\n  "
            + "\n  ".join(problems)
            + "\nMend them, or take them out of the annotations. The features of the others are kept."
        )


class _Pictures(Dataset[tuple[Row, Tensor] | str]):
    """The photographs to be read, as (row, image), or a sentence where one can't be read."""

    def __init__(self, files: Sequence[Path], todo: npt.NDArray[np.int64], transform: ImageTransform) -> None:
        self.files = [str(files[row]) for row in todo]
        self.todo, self.transform = todo, transform

    def __len__(self) -> int:
        return len(self.todo)

    def __getitem__(self, index: int) -> tuple[Row, Tensor] | str:
        path = Path(self.files[index])
        try:
            status = path.stat()  # before the reading, so that a change during it shows next time
            stamp = (status.st_size, status.st_mtime_ns, digest_of(path))
            return Row(int(self.todo[index]), stamp), self.transform.read(path)
        except (CaptioningError, OSError) as error:
            return str(error)


def _collate(items: Sequence[tuple[Row, Tensor] | str]) -> Batch:
    read = [item for item in items if not isinstance(item, str)]
    images = torch.stack([image for _, image in read]) if read else torch.empty(0)
    return Batch([row for row, _ in read], images, [item for item in items if isinstance(item, str)])


class _Writer:
    """One thread that writes in the order of arrival, and now and then makes safe what is written."""

    def __init__(self, columns: Mapping[str, GrowingRows]) -> None:
        self.columns = columns
        self.thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="features")
        self.waiting: deque[Future[None]] = deque()
        self.fresh: list[Row] = []
        self.committed = time.monotonic()

    def put(self, rows: Sequence[Row], parts: Mapping[str, Tensor]) -> None:
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

    def _write(self, rows: Sequence[Row], parts: Mapping[str, Tensor]) -> None:
        numbers = np.array([row.number for row in rows], dtype=np.int64)
        for part, values in parts.items():
            values = values.cpu()
            if not bool(values.sum(dtype=torch.float32).isfinite()):  # one pass; an infinity or NaN reaches the sum
                raise CaptioningError(
                    f"The encoder's {part} features are not finite numbers in half precision. Check its weights."
                )
            self.columns[part].write(numbers, values)
        self.fresh += rows
        if time.monotonic() - self.committed > COMMIT_SECONDS:
            self._commit()

    def _commit(self) -> None:
        for column in self.columns.values():
            column.commit(self.fresh)
        self.fresh.clear()
        self.committed = time.monotonic()


class _Estimate:
    """Says once, after the first hundred photographs, how long the rest will take."""

    def __init__(self, total: int) -> None:
        self.total, self.done, self.first = total, 0, 0
        self.began = time.monotonic()

    def update(self, photographs: int) -> None:
        """Count a batch; the first, with the start of the workers in it, is not part of the rate."""
        before, self.done = self.done, self.done + photographs
        if not before:
            self.first, self.began = self.done, time.monotonic()
        elif before < PROBE <= self.done < self.total:
            rate = (self.done - self.first) / (time.monotonic() - self.began)
            minutes = (self.total - self.done) / rate / 60
            log.info("%d photographs at %.0f a second: about %.1f minutes", self.total, rate, minutes)
