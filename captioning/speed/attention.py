"""Additive attention by torch's sigmoid, which on a CPU takes a tenth of the time of its tanh.

Dimensions: L regions, D numbers of a region, Q query, A attention.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from captioning.decoders.attention import AdditiveAttention, masked_softmax

Weigh = Callable[[Tensor, Tensor, Tensor, Tensor | None], Tensor]


def weigh(keys: Tensor, query: Tensor, score: Tensor, there: Tensor | None) -> Tensor:
    """Twice ``Wk a`` and ``Wq q``, ``(…, L, A)`` and ``(…, 1, A)``, and v to the weights ``(…, L)``."""
    seen = (keys + query).sigmoid_()  # in place: (…, L, A) is the largest tensor
    return masked_softmax(2 * F.linear(seen, score).squeeze(-1), there)


def weigh_by_sums(keys: Tensor, query: Tensor, score: Tensor, there: Tensor | None) -> Tensor:
    """``weigh`` without the product, for which a compiler would have to write ``(…, L, A)`` numbers."""
    seen = (keys + query).sigmoid()
    return masked_softmax(2 * (seen * score.squeeze(0).to(seen.dtype)).sum(-1), there)


class FastAttention(AdditiveAttention):
    """``softmax(2vᵀ σ(2Wk a + 2Wq q))``: ``tanh x = 2σ(2x) − 1``, and the softmax does not see the constant.

    Attributes:
        weigh: keys, query, v and the regions that are there to the weights; compiled or not, in training.
    """

    weigh: Weigh = staticmethod(weigh)

    def keys(self, grid: Tensor) -> Tensor:
        """Regions ``(…, L, D)`` to keys ``(…, L, A)``, twice ``Wk a_i``."""
        return 2 * super().keys(grid)

    def forward(self, keys: Tensor, query: Tensor, there: Tensor | None = None) -> Tensor:
        """See ``AdditiveAttention.forward``; ``keys`` are those of ``FastAttention.keys``."""
        function = self.weigh if torch.is_grad_enabled() else weigh  # compiled for training alone
        return function(keys, 2 * self.query(query).unsqueeze(-2), self.score.weight, there)

    def compile(self, *arguments: Any, **settings: Any) -> None:
        """Let torch.compile fuse everything between two products, which is bound by memory.

        Args:
            arguments: of ``torch.compile``.
            settings: of ``torch.compile``.
        """
        self.weigh = torch.compile(weigh_by_sums, *arguments, **settings)
