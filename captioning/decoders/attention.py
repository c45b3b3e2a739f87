"""Additive attention (Bahdanau, Cho & Bengio, ICLR 2015, arXiv 1409.0473, appendix A.1.2).

Dimensions: L regions, D numbers of a region, Q query, A attention.
"""

import torch
from torch import Tensor, nn


class AdditiveAttention(nn.Module):
    """``e_i = vᵀ tanh(Wk a_i + Wq q)`` and ``α = softmax(e)`` over the regions.

    The keys ``Wk a_i`` do not depend on the query: they are computed once per image, not once per word.
    """

    def __init__(self, grid_size: int, query_size: int, attention_size: int) -> None:
        """Make the weights.

        Args:
            grid_size: D.
            query_size: Q.
            attention_size: A.
        """
        super().__init__()
        self.key = nn.Linear(grid_size, attention_size)
        self.query = nn.Linear(query_size, attention_size, bias=False)
        self.score = nn.Linear(attention_size, 1, bias=False)

    def keys(self, grid: Tensor) -> Tensor:
        """Regions ``(…, L, D)`` to keys ``(…, L, A)``, for ``forward``."""
        keys: Tensor = self.key(grid)
        return keys

    def forward(self, keys: Tensor, query: Tensor, there: Tensor | None = None) -> Tensor:
        """The weights of the regions.

        Args:
            keys: ``(…, L, A)``.
            query: ``(…, Q)``, of a shape that broadcasts with that of the keys.
            there: ``(…, L)``, whether an image has a region; None where all have all of them.

        Returns:
            ``(…, L)``, 0 for a region that is not there; the sum over the regions is 1.
        """
        e = self.score(torch.tanh(keys + self.query(query).unsqueeze(-2))).squeeze(-1)
        return masked_softmax(e, there)


def masked_softmax(e: Tensor, there: Tensor | None) -> Tensor:
    """The softmax over those of L regions that are there, and 0 for the others: ``(…, L)``."""
    if there is None:
        return e.softmax(-1)
    # masked twice: an image without any region has weights of 0, and not of nan
    return e.masked_fill(~there, -torch.inf).softmax(-1).masked_fill(~there, 0.0)
