"""A text as parallel streams, chunk after chunk, for truncated back-propagation through time.

Dimensions: B streams, T characters of a chunk.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from captioning.core.errors import CaptioningError
from captioning.core.packing import Packing
from captioning.data.module import ResumableData
from captioning.data.text import Text


@dataclass(frozen=True)
class Chunk:
    """The next T characters of each of B streams.

    Attributes:
        places: ``(B,)`` where in the text each stream's chunk begins.
        first: whether the streams begin here, without a memory of what was before.
        words: ``(T·B,)`` the characters that go in, in packed order: time-major.
        targets: ``(T·B,)`` the characters that follow them.
        packing: where each of them stands.
    """

    places: Tensor
    first: bool
    words: Tensor
    targets: Tensor
    packing: Packing

    def to(self, device: torch.device | str, non_blocking: bool = False) -> "Chunk":
        """The same chunk on another device."""
        return replace(
            self,
            words=self.words.to(device, non_blocking=non_blocking),
            targets=self.targets.to(device, non_blocking=non_blocking),
            packing=self.packing.to(device, non_blocking=non_blocking),
        )


class Streams(Dataset[Chunk]):
    """A part of a text in B streams of equal length, one behind the other in the text.

    The last chunk of a pass is shorter where T does not divide the streams' length; the fewer than B characters that
    are left over at the part's end are not read.
    """

    def __init__(
        self,
        codes: NDArray[np.unsignedinteger],
        part: tuple[int, int],
        streams: int,
        chunk: int,
        *,
        context: int = 0,
        rank: int = 0,
        ranks: int = 1,
    ) -> None:
        """Take the text.

        Args:
            codes: the whole text.
            part: beginning and end of the characters that are to be said.
            streams: B, of one process.
            chunk: T.
            context: how many characters before each stream's beginning are read first, as a chunk of their own.
            rank: of this process.
            ranks: the number of processes; each has every ``ranks``-th stream.
        """
        begin, end = part
        begin = max(begin, 1)  # nothing precedes the text's first character
        length = (end - begin) // (streams * ranks)
        self.codes = codes
        self.begins = begin + length * np.arange(rank, streams * ranks, ranks)
        self.bounds = [(first, min(first + chunk, length)) for first in range(0, length, chunk)]
        if context := min(context, begin - 1):
            self.bounds.insert(0, (-context, 0))

    def __len__(self) -> int:
        """The chunks of a pass."""
        return len(self.bounds)

    def __getitem__(self, number: int) -> Chunk:
        """A chunk."""
        first, last = self.bounds[number]
        window = self.codes[self.begins[:, None] + np.arange(first - 1, last)]  # (B, T + 1)
        values = torch.from_numpy(window.T.astype(np.int64))  # (T + 1, B)
        return Chunk(
            places=torch.from_numpy(self.begins + first),
            first=number == 0,
            words=values[:-1].flatten(),
            targets=values[1:].flatten(),
            packing=Packing.even(len(self.begins), last - first),
        )


class InOrder(Sampler[int]):
    """The chunks of a pass, after an interruption from the first one that is still to do."""

    def __init__(self, chunks: int, done: Callable[[], int] = lambda: 0) -> None:
        """Take the number of chunks, and what says at the beginning of a pass how many were done already."""
        self.chunks, self.done = chunks, done

    def __len__(self) -> int:
        """The chunks of a whole pass."""
        return self.chunks

    def __iter__(self) -> Iterator[int]:
        """Their numbers; asked for the first, not before, for by then the trainer knows where it was."""
        yield from range(self.done(), self.chunks)


class TextData(ResumableData):
    """Chunks of a text for training and validation."""

    def __init__(self, text: Text, *, batch_size: int = 32, chunk: int = 100) -> None:
        """Take the text.

        Args:
            text: its training and its validation part.
            batch_size: B, of one process.
            chunk: T, through how many characters the gradient goes back.

        Raises:
            CaptioningError: the text is too short for so many streams.
        """
        super().__init__()
        if batch_size < 1 or chunk < 1:
            raise CaptioningError(f"data.batch_size={batch_size}, data.chunk={chunk}: take 1 or more of each.")
        if text.training - 1 < batch_size * chunk:
            raise CaptioningError(
                f"{text.path}: the {text.training} characters for training are too few for {batch_size} streams with a "
                f"chunk of {chunk} each. Lower data.batch_size or data.chunk, or give a longer text."
            )
        self.text, self.batch_size, self.chunk = text, batch_size, chunk

    def train_dataloader(self) -> DataLoader[Chunk]:
        """The training part."""
        streams = Streams(
            self.text.codes,
            (0, self.text.training),
            self.batch_size,
            self.chunk,
            rank=self.trainer.global_rank if self.trainer else 0,
            ranks=self.trainer.world_size if self.trainer else 1,
        )
        return _loader(streams, lambda: self.position()[1])

    def val_dataloader(self) -> DataLoader[Chunk]:
        """The validation part, which every process reads as a whole, and before it what each stream should remember.

        As many streams as in training where each has a chunk at least; the first chunk is the T characters before each
        stream's beginning, so that no character is said without a memory.
        """
        part = (self.text.training, len(self.text.codes))
        count = max(1, min(self.batch_size, (part[1] - part[0]) // self.chunk))
        return _loader(Streams(self.text.codes, part, count, self.chunk, context=self.chunk))

    def describe_batch(self, chunk: Chunk) -> str:
        """Where in the text a chunk is, for a sentence."""
        places = ", ".join(map(str, chunk.places.tolist()))
        return f"{chunk.packing.shape[2]} characters each of {self.text.path}, from the characters {places} on"


def _loader(streams: Streams, done: Callable[[], int] = lambda: 0) -> DataLoader[Chunk]:
    return DataLoader(streams, sampler=InOrder(len(streams), done), batch_size=None)
