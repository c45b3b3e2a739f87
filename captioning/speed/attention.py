"""Additive attention by torch's sigmoid, which on a CPU takes a tenth of the time of torch's tanh; fused dot products.

Dimensions: L regions, D numbers of a region, Q numbers of the query, A hidden units of the attention.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from captioning.decoders.attention import AdditiveAttention, SentinelAttention, masked_softmax
from captioning.decoders.multi_head import MultiHeadAttention

FUSED = ("cuda",)  # devices with a fast fused attention
IN_CACHE = 2**20  # numbers that a processor keeps near: what is larger costs as much to write and read as to compute
Weigh = Callable[[Tensor, Tensor, Tensor, Tensor | None], Tensor]


def weigh(keys: Tensor, query: Tensor, score: Tensor, there: Tensor | None) -> Tensor:
    """The weights ``(…, L)`` from 2 ``Wk a`` ``(…, L, A)``, 2 ``Wq q`` ``(…, 1, A)`` and v ``(1, A)``."""
    seen = (keys + query).sigmoid_()  # in place: (…, L, A) is the largest tensor
    return masked_softmax(2 * F.linear(seen, score).squeeze(-1), there)


def weigh_in_blocks(keys: Tensor, query: Tensor, score: Tensor, there: Tensor | None) -> Tensor:
    """The weights of ``weigh``, without gradients: a few images after the other, whose numbers stay in the cache."""
    numbers = query.numel() * keys.shape[-2]
    if keys.device.type != "cpu" or numbers <= IN_CACHE or keys.dim() != query.dim() or len(keys) != len(query):
        return weigh(keys, query, score, there)
    blocks = -(-numbers // IN_CACHE)
    e = [F.linear((k + q).sigmoid_(), score) for k, q in zip(keys.chunk(blocks), query.chunk(blocks), strict=True)]
    return masked_softmax(2 * torch.cat(e).squeeze(-1), there)


def weigh_by_sums(keys: Tensor, query: Tensor, score: Tensor, there: Tensor | None) -> Tensor:
    """The weights of ``weigh`` without the product, for which a compiler would have to store ``(…, L, A)`` numbers."""
    seen = (keys + query).sigmoid()
    return masked_softmax(2 * (seen * score.squeeze(0).to(seen.dtype)).sum(-1), there)


class FastAttention(AdditiveAttention):
    """Attention ``softmax(2vᵀ σ(2Wk a + 2Wq q))``: ``tanh x = 2σ(2x) − 1``, and the constant cancels in the softmax.

    Attributes:
        weigh: the function from keys, query, v and the mask of the regions to the weights in training, compiled or not.
    """

    weigh: Weigh = staticmethod(weigh)

    def keys(self, grid: Tensor) -> Tensor:
        """The keys ``(…, L, A)``, twice ``Wk a_i``, of regions ``(…, L, D)``."""
        return 2 * super().keys(grid)

    def forward(self, keys: Tensor, query: Tensor, there: Tensor | None = None) -> Tensor:
        """See ``AdditiveAttention.forward``; ``keys`` are those of ``FastAttention.keys``."""
        function = self.weigh if torch.is_grad_enabled() else weigh_in_blocks  # compiled for training only
        return function(keys, 2 * self.query(query).unsqueeze(-2), self.score.weight, there)

    def compile(self, *arguments: Any, **settings: Any) -> None:
        """Let torch.compile fuse the operations between two products, which are bound by memory.

        Args:
            arguments: positional arguments of ``torch.compile``.
            settings: keyword arguments of ``torch.compile``.
        """
        self.weigh = torch.compile(weigh_by_sums, *arguments, **settings)


class FastSentinelAttention(FastAttention, SentinelAttention):
    """``FastAttention`` over the regions and the sentinel."""

    def sentinel_key(self, sentinel: Tensor) -> Tensor:
        """The key ``(…, A)``, twice ``Ws s``."""
        return 2 * super().sentinel_key(sentinel)


class FastMultiHeadAttention(MultiHeadAttention):
    """Multi-head attention by torch's fused function, which keeps no weights in memory, on a GPU.

    On a CPU torch's function is no faster in single precision, and takes six times as long in bfloat16.
    """

    def forward(self, query: Tensor, keys: Tensor, values: Tensor, there: Tensor | None = None) -> Tensor:
        """See ``MultiHeadAttention.forward``."""
        if query.device.type not in FUSED:
            return super().forward(query, keys, values, there)
        query, shape = self.split(query), keys.shape[:-3]
        query, keys, values = (part.flatten(0, -4) for part in (query, keys, values))
        if there is not None:
            there = there.unsqueeze(-3).expand(*shape, -1, -1, -1).flatten(0, -4) if there.dim() > 2 else there
        seen = F.scaled_dot_product_attention(query, keys, values, there)
        return self.join(seen.view(*shape, *seen.shape[1:]))
