"""Sums with their counts: what a mean over several processes is made of."""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Sum:
    """A sum over so many things; training adds both up over all ranks and divides.

    Attributes:
        total: a number, with its gradient where it is trained on.
        count: of what it is the sum over (words, captions, photographs).
        trained: whether its mean is a part of the loss; what is not is logged alone.
    """

    total: Tensor
    count: int
    trained: bool = True

    @property
    def mean(self) -> Tensor:
        """The mean on this rank alone."""
        return self.total / max(self.count, 1)
