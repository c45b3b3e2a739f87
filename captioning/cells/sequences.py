"""The reading of vectors of different lengths by recurrent layers, without padding, one state for each vector.

Dimensions: B sequences, T vectors, E numbers of a vector, H hidden, C numbers of a cell's state.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from captioning.cells.cell import Cell
from captioning.cells.recurrent import Recurrent
from captioning.core.packing import Packing


def read_all(recurrent: Recurrent, vectors: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor]:
    """Run recurrent layers over B sequences.

    Args:
        recurrent: the layers.
        vectors: ``(B, T, E)``, with anything behind a sequence's end.
        lengths: ``(B,)``, one or more; None for T in every sequence.

    Returns:
        The top layer's hidden states ``(B, T, H)``, zero behind a sequence's end, and the states after each sequence's
        last vector, ``(B, depth, C)``.
    """
    B, T, _ = vectors.shape
    if lengths is None:
        packing = Packing.even(B, T).to(vectors.device)
    else:
        there = torch.arange(T, device=lengths.device) < lengths.unsqueeze(1)
        packing = Packing.of(there.long().unsqueeze(1))  # 0 is <pad>
    x = packing.pack(vectors.unsqueeze(1))
    hidden, after = recurrent.run(x, packing.sizes, recurrent.initial(len(packing.captions), like=x))
    return packing.unpack(hidden).squeeze(1), torch.zeros_like(after).index_copy(0, packing.captions, after)


def every_hidden(recurrent: Recurrent, vectors: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor]:
    """The top layer's hidden states ``(B, T, H)`` after every vector, and ``(B, H)`` after the last."""
    hidden, after = read_all(recurrent, vectors, lengths)
    return hidden, after[:, -1, : recurrent.hidden_size]


def last_hidden(recurrent: Recurrent, vectors: Tensor, lengths: Tensor | None) -> Tensor:
    """The top layer's hidden states ``(B, H)`` after each sequence's last vector, see ``read_all``."""
    return every_hidden(recurrent, vectors, lengths)[1]


def reversed_each(vectors: Tensor, lengths: Tensor | None) -> Tensor:
    """Sequences ``(B, T, E)`` from their last vector to their first; what is behind an end stays there."""
    if lengths is None:
        return vectors.flip(1)
    places = torch.arange(vectors.shape[1], device=lengths.device).expand(len(vectors), -1)
    back = torch.where(places < lengths.unsqueeze(1), lengths.unsqueeze(1) - 1 - places, places)
    return vectors.gather(1, back.unsqueeze(-1).expand_as(vectors))


class Reader(nn.Module):
    """Recurrent layers that give each vector of a sequence a state, in one direction or, side by side, in both.

    Attributes:
        output_size: H, or 2 H in both directions.
    """

    def __init__(
        self,
        cell: Callable[..., Cell],
        input_size: int,
        hidden_size: int,
        depth: int = 1,
        bidirectional: bool = True,
        dropout: float = 0.0,
    ) -> None:
        """Make the layers.

        Args:
            cell: a function that makes one recurrent layer.
            input_size: E.
            hidden_size: H, of each direction.
            depth: the number of layers of each direction.
            bidirectional: whether a second stack reads each sequence from its end (Schuster & Paliwal 1997).
            dropout: the fraction of the hidden units between layers that training drops.
        """
        super().__init__()
        self.forwards = Recurrent(cell, input_size, hidden_size, depth, dropout=dropout)
        self.backwards = Recurrent(cell, input_size, hidden_size, depth, dropout=dropout) if bidirectional else None
        self.output_size = hidden_size * (2 if bidirectional else 1)

    def forward(self, vectors: Tensor, lengths: Tensor | None = None) -> Tensor:
        """The states ``(B, T, output_size)`` of vectors ``(B, T, E)``, zero behind a sequence's end."""
        ahead, _ = read_all(self.forwards, vectors, lengths)
        if self.backwards is None:
            return ahead
        back, _ = read_all(self.backwards, reversed_each(vectors, lengths), lengths)
        return torch.cat([ahead, reversed_each(back, lengths)], dim=-1)
