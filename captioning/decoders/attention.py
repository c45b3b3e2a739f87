"""Additive attention (Bahdanau, Cho & Bengio, ICLR 2015, arXiv 1409.0473, appendix A.1.2).

Dimensions: L regions, D grid features, Q what asks, A attention.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from captioning.speed.linear import Linear
from captioning.speed.repeated import Repeated


class AdditiveAttention(nn.Module):
    """``e_i = vᵀ tanh(Wk a_i + Wq q)`` and ``α = softmax(e)`` over the regions.

    The keys ``Wk a_i`` do not depend on what asks: they are computed once per photograph, not once per word. And
    ``tanh x = 2σ(2x) − 1``, whose constant the softmax does not see: so it is ``softmax(2vᵀ σ(2Wk a_i + 2Wq q))`` that
    is computed, since torch's sigmoid takes a tenth of the time of its tanh on a CPU.
    """

    def __init__(self, grid_size: int, query_size: int, attention_size: int) -> None:
        """Make the weights.

        Args:
            grid_size: D.
            query_size: Q.
            attention_size: A.
        """
        super().__init__()
        self.key = Linear(grid_size, attention_size)
        self.query = Repeated(query_size, attention_size, bias=False)
        self.score = nn.Linear(attention_size, 1, bias=False)
        self.weigh: Callable[[Tensor, Tensor, Tensor], Tensor] = _weigh

    def keys(self, grid: Tensor) -> Tensor:
        """Regions ``(…, L, D)`` to keys ``(…, L, A)``, twice ``Wk a_i``."""
        keys: Tensor = 2 * self.key(grid)
        return keys

    def forward(self, keys: Tensor, query: Tensor) -> Tensor:
        """Where to look.

        Args:
            keys: ``(…, L, A)``.
            query: ``(…, Q)``, of a shape that broadcasts with that of the keys.

        Returns:
            Weights ``(…, L)`` whose sum over the regions is 1.
        """
        weigh = self.weigh if torch.is_grad_enabled() else _weigh  # compiled for training alone
        return weigh(keys, 2 * self.query(query).unsqueeze(-2), self.score.weight)

    def compile(self, *arguments: Any, **settings: Any) -> None:
        """Let torch.compile fuse what is bound by memory: all that is between two products.

        Args:
            arguments: of ``torch.compile``.
            settings: of ``torch.compile``.
        """
        self.weigh = torch.compile(_weigh_by_sums, *arguments, **settings)


def _weigh(keys: Tensor, asked: Tensor, score: Tensor) -> Tensor:
    """Twice the keys and the query, ``(…, L, A)`` and ``(…, 1, A)``, and v to the weights ``(…, L)``."""
    seen = (keys + asked).sigmoid_()  # in place: (…, L, A) is the largest tensor
    return (2 * F.linear(seen, score).squeeze(-1)).softmax(-1)


def _weigh_by_sums(keys: Tensor, asked: Tensor, score: Tensor) -> Tensor:
    """``_weigh`` without the product, for which a compiler would have to write ``(…, L, A)`` numbers."""
    seen = (keys + asked).sigmoid()
    return (2 * (seen * score.squeeze(0).to(seen.dtype)).sum(-1)).softmax(-1)
