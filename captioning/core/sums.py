"""Sums with their counts, for means over several processes."""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Sum:
    """A sum and its count; training adds up both over all ranks and divides.

    Attributes:
        total: the sum, with its gradient if it is trained.
        count: the number of items in the sum (words, captions, images).
        trained: whether the mean is a part of the loss; otherwise the mean is only logged.
    """

    total: Tensor
    count: int
    trained: bool = True

    @property
    def mean(self) -> Tensor:
        """The mean on this rank alone."""
        return self.total / max(self.count, 1)
