"""A text as parallel streams in chunks, for truncated back-propagation through time.

Dimensions: B streams, T characters of a chunk.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from captioning.core.errors import CaptioningError
from captioning.core.moving import Movable
from captioning.core.packing import Packing
from captioning.data.module import ResumableData
from captioning.data.text import Text


@dataclass(frozen=True)
class Chunk(Movable):
    """The next T characters of each of B streams.

    Attributes:
        places: ``(B,)`` the position in the text at which each stream's chunk begins.
        first: True if the streams begin here, with a state of zeros.
        words: ``(T·B,)`` the input characters, in packed order: time-major.
        targets: ``(T·B,)`` the characters that follow ``words``.
        packing: the position of each character.
    """

    places: Tensor
    first: bool
    words: Tensor
    targets: Tensor
    packing: Packing


class Streams(Dataset[Chunk]):
    """A part of a text in B consecutive streams of equal length.

    The last chunk of a pass is shorter if T does not divide the streams' length. The fewer than B characters left over
    at the part's end are not read.
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
            part: the beginning and end of the target characters.
            streams: B, the number of streams of one process.
            chunk: T, the length of a chunk.
            context: the number of characters before each stream's beginning that are read first, as a separate chunk.
            rank: the rank of this process.
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
        """The number of chunks in a pass."""
        return len(self.bounds)

    def __getitem__(self, number: int) -> Chunk:
        """The chunk of a number."""
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
    """The numbers of a pass's chunks, after an interruption from the first chunk not yet done."""

    def __init__(self, chunks: int, done: Callable[[], int] = lambda: 0) -> None:
        """Take the number of chunks, and a function that returns the number already done at the beginning of a pass."""
        self.chunks, self.done = chunks, done

    def __len__(self) -> int:
        """The number of chunks in a whole pass."""
        return self.chunks

    def __iter__(self) -> Iterator[int]:
        """The chunks' numbers; ``done`` is called at the first chunk, once the trainer has restored its progress."""
        yield from range(self.done(), self.chunks)


class TextData(ResumableData):
    """Chunks of a text for training and validation."""

    def __init__(self, text: Text, *, batch_size: int = 32, chunk: int = 100) -> None:
        """Take the text.

        Args:
            text: the text with its training and validation parts.
            batch_size: B, the number of streams of one process.
            chunk: T, the number of characters through which the gradient flows back.

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
        """The validation part, which every process reads as a whole, preceded by a context for each stream.

        The number of streams is that of training, if each stream has at least one chunk. The first chunk is the T
        characters before each stream's beginning, so that every character is predicted from a context.
        """
        part = (self.text.training, len(self.text.codes))
        count = max(1, min(self.batch_size, (part[1] - part[0]) // self.chunk))
        return _loader(Streams(self.text.codes, part, count, self.chunk, context=self.chunk))

    def describe_batch(self, chunk: Chunk) -> str:
        """The position of a chunk in the text, as a phrase for messages."""
        places = ", ".join(map(str, chunk.places.tolist()))
        return f"{chunk.packing.shape[2]} characters each of {self.text.path}, from the characters {places} on"


def _loader(streams: Streams, done: Callable[[], int] = lambda: 0) -> DataLoader[Chunk]:
    return DataLoader(streams, sampler=InOrder(len(streams), done), batch_size=None)
