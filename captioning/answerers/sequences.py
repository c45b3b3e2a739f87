"""The reading of vectors of different lengths by recurrent layers, without padding.

Dimensions: Q questions, T vectors, E numbers of a vector, H hidden.
"""

import torch
from torch import Tensor

from captioning.cells import Recurrent
from captioning.core.packing import Packing


def last_hidden(recurrent: Recurrent, vectors: Tensor, lengths: Tensor) -> Tensor:
    """The top layer's hidden states ``(Q, H)`` after each sequence's last vector, see ``every_hidden``."""
    return every_hidden(recurrent, vectors, lengths)[1]


def every_hidden(recurrent: Recurrent, vectors: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
    """The top layer's hidden states after every vector, and after each sequence's last vector.

    Args:
        recurrent: the layers.
        vectors: ``(Q, T, E)``, with anything behind a sequence's end.
        lengths: ``(Q,)``, one or more.

    Returns:
        ``(Q, T, H)``, zero behind a sequence's end, and ``(Q, H)``.
    """
    there = torch.arange(vectors.shape[1], device=lengths.device) < lengths.unsqueeze(1)
    packing = Packing.of(there.long().unsqueeze(1))  # 0 is <pad>
    x = packing.pack(vectors.unsqueeze(1))
    state = recurrent.initial(len(packing.captions), like=x)
    hidden, after = recurrent.run(x, packing.sizes, state)
    last = after[:, -1, : recurrent.hidden_size]
    return packing.unpack(hidden).squeeze(1), torch.zeros_like(last).index_copy(0, packing.captions, last)


def reversed_each(vectors: Tensor, lengths: Tensor) -> Tensor:
    """Sequences ``(Q, T, E)`` from their last vector to their first; what is behind an end stays there."""
    places = torch.arange(vectors.shape[1], device=lengths.device).expand(len(vectors), -1)
    back = torch.where(places < lengths.unsqueeze(1), lengths.unsqueeze(1) - 1 - places, places)
    return vectors.gather(1, back.unsqueeze(-1).expand_as(vectors))
