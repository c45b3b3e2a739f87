"""What a decoder remembers between two words.

Dimensions: B images, S sequences of an image (captions in training, beams in search).
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor


@dataclass(frozen=True)
class State:
    """A decoder's state, in two parts: an image has several sequences at once.

    Attributes:
        image: ``(B, …)`` by name: what depends on the photograph alone (its ``Wih v``, its attention keys),
            computed and kept once per photograph however many sequences it has.
        sequence: ``(B, S, …)`` by name: what depends on the words so far. A decoder with attention leaves its last
            weights here as ``"attention"``, ``(B, S, L)``.
    """

    image: dict[str, Tensor] = field(default_factory=dict)
    sequence: dict[str, Tensor] = field(default_factory=dict)

    def map(self, function: Callable[[Tensor], Tensor]) -> "State":
        """The same function of each part: ``state.map(torch.detach)``."""
        return State(
            {name: function(part) for name, part in self.image.items()},
            {name: function(part) for name, part in self.sequence.items()},
        )

    def reorder(self, parents: Tensor) -> "State":
        """Let each sequence go on from another one of the same photograph; the image's part is not touched.

        Args:
            parents: ``(B, S')`` indices into the S sequences; S' may differ from S.
        """
        return State(self.image, {name: gather(part, parents) for name, part in self.sequence.items()})

    def select(self, images: Tensor) -> "State":
        """Keep some of the photographs.

        Args:
            images: ``(B',)`` indices, or a mask ``(B,)``.
        """
        return self.map(lambda part: part[images])


def gather(values: Tensor, parents: Tensor) -> Tensor:
    """``out[b, s] = values[b, parents[b, s]]`` for ``values (B, S, …)`` and ``parents (B, S')``."""
    images = torch.arange(len(values), device=values.device).unsqueeze(1)  # (B, 1)
    return values[images, parents]
