"""Values made of tensors, which move to another device as a whole."""

from collections.abc import Callable
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:  # scores of answers need no torch
    import torch
    from torch import Tensor


class Movable:
    """The base class of dataclasses of tensors: batches, and what they are made of."""

    def each(self, function: "Callable[[Tensor], Tensor]") -> Self:
        """The same value with a function applied to each tensor, also to those of movable parts."""
        parts: Any = self
        changed = {part.name: _each(getattr(self, part.name), function) for part in fields(parts)}
        made: Self = replace(parts, **changed)
        return made

    def to(self, device: "torch.device | str", *, non_blocking: bool = False) -> Self:
        """The same value on another device.

        Args:
            device: the device.
            non_blocking: whether the caller goes on before a copy to a GPU has ended, which takes pinned memory.
        """
        return self.each(lambda tensor: tensor.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> Self:
        """The same value in pinned memory, from which a GPU copies while the processor goes on; torch's loader asks."""
        return self.each(lambda tensor: tensor.pin_memory())


def _each(value: Any, function: "Callable[[Tensor], Tensor]") -> Any:
    from torch import Tensor

    if isinstance(value, Tensor):
        return function(value)
    return value.each(function) if isinstance(value, Movable) else value
