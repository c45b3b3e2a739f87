"""What an encoder gives for a batch of photographs.

Dimensions: B images, L regions (rows × columns), D grid features, P pooled features.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

Part = Literal["pooled", "grid"]


@dataclass(frozen=True)
class FeatureSpec:
    """The sizes of an encoder's features: what a decoder is built for.

    Attributes:
        pooled: P, the length of the one vector of a photograph.
        grid: D, the length of the vector of one region.
        shape: (rows, columns) of the grid; L = rows · columns, in row-major order.
    """

    pooled: int
    grid: int
    shape: tuple[int, int]

    @property
    def regions(self) -> int:
        """L."""
        return self.shape[0] * self.shape[1]


NO_FEATURES = FeatureSpec(pooled=0, grid=0, shape=(0, 0))  # of a language model without an encoder


@dataclass(frozen=True)
class Features:
    """The features of B photographs, whether they come from a live encoder or from the feature store.

    Attributes:
        pooled: ``(B, P)``, or None where the decoder does not read it.
        grid: ``(B, L, D)``, regions in row-major order, or None where the decoder does not read it.
    """

    pooled: Tensor | None = None
    grid: Tensor | None = None

    @classmethod
    def none(cls, images: int, device: torch.device | str | None = None) -> "Features":
        """No features, B times: what a language model has in place of photographs."""
        return cls(pooled=torch.zeros(images, 0, device=device))

    def __len__(self) -> int:
        """B."""
        for part in (self.pooled, self.grid):
            if part is not None:
                return len(part)
        return 0

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> "Features":
        """The same features on another device, or in another precision."""
        return self.map(lambda part: part.to(device=device, dtype=dtype))

    def select(self, images: Tensor) -> "Features":
        """The features of some of the photographs.

        Args:
            images: ``(B',)`` indices, or a mask ``(B,)``.
        """
        return self.map(lambda part: part[images])

    @property
    def device(self) -> torch.device:
        """Where the features are."""
        part = self.pooled if self.pooled is not None else self.grid
        return torch.device("cpu") if part is None else part.device

    def map(self, function: Callable[[Tensor], Tensor]) -> "Features":
        """The same function of each part."""
        return replace(
            self,
            pooled=None if self.pooled is None else function(self.pooled),
            grid=None if self.grid is None else function(self.grid),
        )
