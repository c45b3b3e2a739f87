"""The state of a decoder between two words.

Dimensions: B images, S sequences of an image (captions in training, beams in search).
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor


@dataclass(frozen=True)
class State:
    """A decoder's state, in two parts, since an image has several sequences at once.

    Attributes:
        image: tensors ``(B, …)`` by name that depend on the image alone (its ``Wih v``, its attention keys), computed
            and kept once per image, however many sequences the image has.
        sequence: tensors ``(B, S, …)`` by name that depend on the words so far. A decoder with attention keeps its last
            weights here as ``"attention"``, ``(B, S, L)``.
    """

    image: dict[str, Tensor] = field(default_factory=dict)
    sequence: dict[str, Tensor] = field(default_factory=dict)

    def map(self, function: Callable[[Tensor], Tensor]) -> "State":
        """The state with a function applied to each part: ``state.map(torch.detach)``."""
        return State(
            {name: function(part) for name, part in self.image.items()},
            {name: function(part) for name, part in self.sequence.items()},
        )

    def reorder(self, parents: Tensor) -> "State":
        """The state in which each sequence continues a sequence ``parents`` of the same image; ``image`` stays.

        Args:
            parents: ``(B, S')`` indices into the S sequences; S' may differ from S.
        """
        return State(self.image, {name: gather(part, parents) for name, part in self.sequence.items()})

    def select(self, images: Tensor) -> "State":
        """The state of some of the images.

        Args:
            images: ``(B',)`` indices, or a mask ``(B,)``.
        """
        return self.map(lambda part: part[images])


def gather(values: Tensor, parents: Tensor) -> Tensor:
    """``out[b, s] = values[b, parents[b, s]]`` for ``values (B, S, …)`` and ``parents (B, S')``."""
    images = torch.arange(len(values), device=values.device).unsqueeze(1)  # (B, 1)
    return values[images, parents]
