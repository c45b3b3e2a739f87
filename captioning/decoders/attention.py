"""Additive attention (Bahdanau, Cho & Bengio, ICLR 2015, arXiv 1409.0473, appendix A.1.2).

Dimensions: L regions, D numbers of a region, Q numbers of the query, A hidden units of the attention.
"""

import torch
from torch import Tensor, nn


class AdditiveAttention(nn.Module):
    """Attention weights ``α = softmax(e)`` over the regions, ``e_i = vᵀ tanh(Wk a_i + Wq q)``.

    The keys ``Wk a_i`` do not depend on the query, so the keys are computed once per image, not once per word.
    """

    def __init__(self, grid_size: int, query_size: int, attention_size: int) -> None:
        """Make the weights.

        Args:
            grid_size: D, the numbers of a region.
            query_size: Q, the numbers of the query.
            attention_size: A, the hidden units.
        """
        super().__init__()
        self.key = nn.Linear(grid_size, attention_size)
        self.query = nn.Linear(query_size, attention_size, bias=False)
        self.score = nn.Linear(attention_size, 1, bias=False)

    def keys(self, grid: Tensor) -> Tensor:
        """The keys ``(…, L, A)`` of regions ``(…, L, D)``, for ``forward``."""
        keys: Tensor = self.key(grid)
        return keys

    def forward(self, keys: Tensor, query: Tensor, there: Tensor | None = None) -> Tensor:
        """The weights of the regions.

        Args:
            keys: ``(…, L, A)``, the outputs of ``keys``.
            query: ``(…, Q)``, of a shape that broadcasts with the keys'.
            there: ``(…, L)``, True for the regions that an image has; None if every image has all L.

        Returns:
            ``(…, L)``, with the sum 1 over the regions, and 0 for a missing region.
        """
        e = self.score(torch.tanh(keys + self.query(query).unsqueeze(-2))).squeeze(-1)
        return masked_softmax(e, there)


def masked_softmax(e: Tensor, there: Tensor | None) -> Tensor:
    """The softmax ``(…, L)`` over the regions that an image has, and 0 for the others."""
    if there is None:
        return e.softmax(-1)
    # masked twice: an image without any region has weights of 0 instead of nan
    return e.masked_fill(~there, -torch.inf).softmax(-1).masked_fill(~there, 0.0)
