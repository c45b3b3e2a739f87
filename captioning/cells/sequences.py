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
    packing, hidden, after = _read(recurrent, vectors, lengths, backwards)
    return packing.unpack(hidden).squeeze(1), after


def every_hidden(
    recurrent: Recurrent, vectors: Tensor, lengths: Tensor | None, backwards: bool = False
) -> tuple[Tensor, Tensor]:
    """The top layer's hidden states ``(B, T, H)`` after every vector, ``(B, H)`` after the last; see ``read_all``."""
    hidden, after = read_all(recurrent, vectors, lengths, backwards)
    return hidden, after[:, -1, : recurrent.hidden_size]


def last_hidden(recurrent: Recurrent, vectors: Tensor, lengths: Tensor | None, backwards: bool = False) -> Tensor:
    """The top layer's hidden states ``(B, H)`` after the last vector that is read of each; see ``read_all``."""
    return _read(recurrent, vectors, lengths, backwards)[2][:, -1, : recurrent.hidden_size]


def _read(
    recurrent: Recurrent, vectors: Tensor, lengths: Tensor | None, backwards: bool
) -> tuple[Packing, Tensor, Tensor]:
    """The packing, the top layer's hidden states ``(M, H)`` in its order, and the last states ``(B, depth, C)``."""
    B, T, _ = vectors.shape
    if lengths is None:
        packing = Packing.even(B, T).to(vectors.device)
    else:
        there = torch.arange(T, device=lengths.device) < lengths.unsqueeze(1)
        packing = Packing.of(there.long().unsqueeze(1))  # 0 is <pad>
    if backwards:
        packing = packing.turned()
    x = packing.pack(vectors.unsqueeze(1))
    hidden, after = recurrent.run(x, packing.sizes, recurrent.initial(len(packing.captions), like=x))
    return packing, hidden, torch.zeros_like(after).index_copy(0, packing.captions, after)


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
