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


class Batch(NamedTuple):
    """What a worker process hands over."""

    rows: list[int]
    content: Tensor | dict[str, Tensor]  # uint8 (B, 3, height, width), or their features by name
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
            features don't fit in half precision, or the disk is full.
    """
    todo = np.unique(np.concatenate([column.missing for column in columns.values()]))
    encode = _Encode(extract, tuple(columns))
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
    writer = _Writer(columns, digests)
    estimate = _Estimate(len(todo), sum(column.missing_bytes for column in columns.values()), workers * batch_size)
    try:
        with progress([], "extracting features", len(todo), unit="photo") as bar:
            for rows, content, unused in loader:
                problems += unused
                if rows:
                    writer.put(rows, encode(content) if isinstance(content, Tensor) else content)
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
    """Photographs, uint8 ``(B, 3, height, width)``, to parts of their features in half precision, by name."""

    extract: Extract
    parts: Sequence[str]

    def __call__(self, images: Tensor) -> dict[str, Tensor]:
        with torch.inference_mode():
            features = self.extract(images)
            return {part: getattr(features, part).half() for part in self.parts}


@dataclass(frozen=True)
class _Collate:
    """Pictures to a batch of them, or, where there is an encoder, of their features."""

    encode: _Encode | None

    def __call__(self, items: Sequence[tuple[int, Tensor] | str]) -> Batch:
        read = [item for item in items if not isinstance(item, str)]
        content: Tensor | dict[str, Tensor] = {}
        if read:
            content = stack([image for _, image in read])
            content = content if self.encode is None else self.encode(content)
        return Batch([row for row, _ in read], content, [item for item in items if isinstance(item, str)])


class _Writer:
    """One thread that writes in the order of arrival, and now and then makes safe what is written."""

    def __init__(self, columns: Mapping[str, GrowingRows], digests: npt.NDArray[np.uint8]) -> None:
        self.columns, self.digests = columns, digests
        self.thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="features")
        self.waiting: deque[Future[None]] = deque()
        self.fresh: list[int] = []
        self.committed = time.monotonic()

    def put(self, rows: Sequence[int], parts: Mapping[str, Tensor]) -> None:
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

    def _write(self, rows: Sequence[int], parts: Mapping[str, Tensor]) -> None:
        numbers = np.array(rows, dtype=np.int64)
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
            column.commit(self.fresh, self.digests)
        self.fresh.clear()
        self.committed = time.monotonic()


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
