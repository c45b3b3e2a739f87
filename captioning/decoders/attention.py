"""Additive attention (Bahdanau, Cho & Bengio, ICLR 2015, arXiv 1409.0473, appendix A.1.2).

Dimensions: L regions, D numbers of a region, Q numbers of the query, A hidden units of the attention.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


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


class SentinelAttention(AdditiveAttention):
    """Attention over the regions and over one vector more for each query, the sentinel s.

    ``α = softmax([e; e_s])`` with ``e_i = vᵀ tanh(Wk a_i + Wq q)`` and ``e_s = vᵀ tanh(Ws s + Wq q)`` (Lu et al. 2017,
    arXiv 1612.01887, equations 6, 7 and 12).
    """

    def __init__(self, grid_size: int, query_size: int, sentinel_size: int, attention_size: int) -> None:
        """Make the weights.

        Args:
            grid_size: D, the numbers of a region.
            query_size: Q, the numbers of the query.
            sentinel_size: the numbers of the sentinel.
            attention_size: A, the hidden units.
        """
        super().__init__(grid_size, query_size, attention_size)
        self.sentinel = nn.Linear(sentinel_size, attention_size)

    def sentinel_key(self, sentinel: Tensor) -> Tensor:
        """The key ``Ws s``, ``(…, A)``."""
        key: Tensor = self.sentinel(sentinel)
        return key

    def weights(
        self, keys: Tensor, query: Tensor, sentinel: Tensor, there: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """The weights of the regions and of the sentinel, whose sum is 1.

        Args:
            keys: ``(…, L, A)``, the outputs of ``keys``, of a shape that broadcasts to the query's.
            query: ``(…, Q)``.
            sentinel: the sentinel of each query, ``(…, sentinel_size)``.
            there: ``(…, L)``, True for the regions that an image has; None if every image has all L.

        Returns:
            ``(…, L)``, and ``(…, 1)``.
        """
        key = self.sentinel_key(sentinel).unsqueeze(-2)  # (…, 1, A)
        keys = torch.cat([keys.expand(*query.shape[:-1], -1, -1).to(key.dtype), key], dim=-2)
        if there is not None:
            there = F.pad(there, (0, 1), value=True)
        weights = self(keys, query, there)
        return weights[..., :-1], weights[..., -1:]


def masked_softmax(e: Tensor, there: Tensor | None) -> Tensor:
    """The softmax ``(…, L)`` over the regions that an image has, and 0 for the others."""
    if there is None:
        return e.softmax(-1)
    # masked twice: an image without any region has weights of 0 instead of nan
    return e.masked_fill(~there, -torch.inf).softmax(-1).masked_fill(~there, 0.0)
