"""The reading of vectors of different lengths by recurrent layers, without padding, one state for each vector.

Dimensions: B sequences, T vectors, E numbers of a vector, H hidden, C numbers of a cell's state.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from captioning.cells.cell import Cell
from captioning.cells.recurrent import Recurrent
from captioning.core.packing import Packing


def read_all(
    recurrent: Recurrent, vectors: Tensor, lengths: Tensor | None, backwards: bool = False
) -> tuple[Tensor, Tensor]:
    """Run recurrent layers over B sequences.

    Args:
        recurrent: the layers.
        vectors: ``(B, T, E)``, with anything behind a sequence's end.
        lengths: ``(B,)``, one or more; None for T in every sequence.
        backwards: whether to read each sequence from its last vector to its first.

    Returns:
        The top layer's hidden states ``(B, T, H)``, each at its vector's place and zero behind a sequence's end, and
        the states after the vector of each sequence that is read last, ``(B, depth, C)``.
    """
    packing = packing_of(vectors, lengths, backwards)
    hidden, after = read_packed(recurrent, packing.pack(vectors.unsqueeze(1)), packing)
    return packing.unpack(hidden).squeeze(1), after


def every_hidden(
    recurrent: Recurrent, vectors: Tensor, lengths: Tensor | None, backwards: bool = False
) -> tuple[Tensor, Tensor]:
    """The top layer's hidden states ``(B, T, H)`` after every vector, ``(B, H)`` after the last; see ``read_all``."""
    hidden, after = read_all(recurrent, vectors, lengths, backwards)
    return hidden, after[:, -1, : recurrent.hidden_size]


def last_hidden(recurrent: Recurrent, vectors: Tensor, lengths: Tensor | None, backwards: bool = False) -> Tensor:
    """The top layer's hidden states ``(B, H)`` after the last vector that is read of each; see ``read_all``."""
    packing = packing_of(vectors, lengths, backwards)
    _, after = read_packed(recurrent, packing.pack(vectors.unsqueeze(1)), packing)
    return after[:, -1, : recurrent.hidden_size]


def read_packed(recurrent: Recurrent, vectors: Tensor, packing: Packing) -> tuple[Tensor, Tensor]:
    """Run recurrent layers over B packed sequences.

    Args:
        recurrent: the layers.
        vectors: ``(M, E)``, in the packing's order.
        packing: the place of each of M vectors; ``packing.turned()`` to read each sequence from its end.

    Returns:
        The top layer's hidden states ``(M, H)``, in the packing's order, and the states after the vector of each
        sequence that is read last, ``(B, depth, C)``; zero for a sequence without vectors.
    """
    before = recurrent.initial(len(packing.captions), like=vectors)
    hidden, after = recurrent.run(vectors, packing.sizes, before)
    B, S, _ = packing.shape
    return hidden, after.new_zeros(B * S, *after.shape[1:]).index_copy(0, packing.captions, after)


def packing_of(vectors: Tensor, lengths: Tensor | None, backwards: bool = False) -> Packing:
    """The packing of B sequences of vectors ``(B, T, E)``, see ``read_all``."""
    B, T, _ = vectors.shape
    if lengths is None:
        packing = Packing.even(B, T).to(vectors.device)
    else:
        there = torch.arange(T, device=lengths.device) < lengths.unsqueeze(1)
        packing = Packing.of(there.long().unsqueeze(1))  # 0 is <pad>
    return packing.turned() if backwards else packing


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
        back, _ = read_all(self.backwards, vectors, lengths, backwards=True)
        return torch.cat([ahead, back], dim=-1)
