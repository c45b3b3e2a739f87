"""Packing of captions of different lengths in one batch, without padding.

Dimensions: B images, S captions of an image, T words, N captions that have words, M words in all.
"""

from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from captioning.core.moving import Movable
from captioning.core.vocabulary import PAD


@dataclass(frozen=True)
class Packing(Movable):
    """The place of each word of a batch of captions, time-major, the longest captions first.

    At time t the first ``sizes[t]`` captions still have a word, so a recurrent loop works on a prefix of its state and
    the ended captions drop out; word t of caption n is row ``sum(sizes[:t]) + n``. The order is that of
    ``torch.nn.utils.rnn.PackedSequence``, which knows no images.

    Attributes:
        rows: ``(M,)`` each word's place in the flattened ``(B, S, T)``.
        captions: ``(N,)`` each caption's place in the flattened ``(B, S)``, by decreasing length.
        sizes: the number of captions that still have a word, at each of T times.
        shape: (B, S, T).
    """

    rows: Tensor
    captions: Tensor
    sizes: tuple[int, ...]
    shape: tuple[int, int, int]

    @classmethod
    def of(cls, tokens: Tensor) -> "Packing":
        """The packing of captions ``(B, S, T)``, padded with ``<pad>`` at their ends.

        A caption that is all padding has no words and is left out. The packing is computed on the CPU, where the sizes
        are needed.
        """
        B, S, T = tokens.shape
        lengths = (tokens != PAD).sum(-1).flatten().cpu()  # (B·S,)
        captions = torch.argsort(lengths, descending=True, stable=True)
        captions = captions[: int((lengths > 0).sum())]
        times = torch.arange(T).unsqueeze(1)
        there = lengths[captions] > times  # (T, N)
        sizes = [n for n in there.sum(1).tolist() if n > 0]
        rows = (captions * T + times)[there]
        return cls(rows, captions, tuple(sizes), (B, S, T)).to(tokens.device)

    @classmethod
    def even(cls, sequences: int, words: int) -> "Packing":
        """The packing of B sequences (S = 1) of T words each, whatever the words: ``values.T.flatten()``."""
        captions = torch.arange(sequences)
        rows = (captions * words + torch.arange(words).unsqueeze(1)).flatten()
        return cls(rows, captions, (sequences,) * words, (sequences, 1, words))

    @cached_property
    def images(self) -> Tensor:
        """The image of each caption, ``(N,)``."""
        return self.captions // self.shape[1]

    @cached_property
    def row_images(self) -> Tensor:
        """The image of each word, ``(M,)``."""
        return self.rows // (self.shape[1] * self.shape[2])

    @cached_property
    def row_captions(self) -> Tensor:
        """The caption of each word, ``(M,)``, as a place in the order of ``captions``."""
        return self._row_captions().to(self.rows.device, non_blocking=True)

    @cached_property
    def backwards(self) -> Tensor:
        """The order ``(M,)`` of the packed words that reads every caption from its end to its beginning.

        For each word, the place of the word as far from its caption's end as the word is from the beginning. The order
        is its own inverse: packed values ``x`` backwards are ``x.index_select(0, packing.backwards)``.
        """
        sizes = torch.tensor(self.sizes)  # on the CPU: a GPU would wait for numbers of rows that are known here
        first = sizes.cumsum(0) - sizes  # the first row of each time
        caption = self._row_captions()
        time = torch.repeat_interleave(torch.arange(len(sizes)), sizes)
        lengths = torch.bincount(caption)
        return (first[lengths[caption] - 1 - time] + caption).to(self.rows.device, non_blocking=True)

    def _row_captions(self) -> Tensor:
        return torch.cat([torch.arange(n) for n in self.sizes])

    def turned(self) -> "Packing":
        """The packing of every caption from its end to its beginning; ``unpack`` gives each word its own place."""
        return replace(self, rows=self.rows.index_select(0, self.backwards))

    def pack(self, values: Tensor) -> Tensor:
        """Values ``(B, S, T, …)`` in packed order, ``(M, …)``."""
        # not values[rows], whose gradient is far slower on a CPU
        return values.flatten(0, 2).index_select(0, self.rows)

    def unpack(self, values: Tensor) -> Tensor:
        """Packed values ``(M, …)`` as ``(B, S, T, …)``, zero where there is no word."""
        B, S, T = self.shape
        flat = values.new_zeros(B * S * T, *values.shape[1:])
        return flat.index_copy(0, self.rows, values).view(B, S, T, *values.shape[1:])
