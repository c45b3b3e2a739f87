"""Linear layers inside of a loop over words: the gradient of their weights outside of it.

Dimensions: M rows of all steps together, I inputs, O outputs.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from captioning.speed.linear import Linear, linear, onednn


class Repeated(Linear):
    """``Linear``, for use at every step of a loop.

    Automatic differentiation adds up a matrix of the size of the weights at every step. Inside of ``repeated`` the
    inputs and the outputs' gradients of all steps are put together, and the weights' gradient is one product. Under
    autocast the weights are cast once, and that gradient is summed in full precision and not in half.
    """

    loop: "_Loop | None" = None

    def forward(self, input: Tensor) -> Tensor:
        """``(…, I)`` to ``(…, O)``; inside of ``repeated`` ``(n, I)`` to ``(n, O)``, n as the step has."""
        return super().forward(input) if self.loop is None else self.loop(input)


@contextmanager
def repeated(layers: Iterable[nn.Module], sizes: Sequence[int]) -> Iterator[None]:
    """A loop in which each layer is called once a step.

    Args:
        layers: the ``Repeated`` among them are meant, and those inside of them.
        sizes: how many rows each step has.
    """
    if not torch.is_grad_enabled():
        yield
        return
    found = [part for layer in layers for part in layer.modules() if isinstance(part, Repeated)]
    for layer in found:
        layer.loop = _Loop(layer, sizes)
    try:
        yield
    finally:
        for layer in found:
            layer.loop = None


class _Loop:
    """One pass of a layer through a loop."""

    def __init__(self, layer: nn.Linear, sizes: Sequence[int]) -> None:
        device = layer.weight.device.type
        half = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else None
        dtype = half or layer.weight.dtype
        self.inputs: list[Tensor] = []
        self.weight = layer.weight.detach().to(dtype)
        biases: Tensor = _Biases.apply(layer.weight, layer.bias, sum(sizes), dtype, self.inputs)
        self.biases = iter(torch.split(biases, list(sizes)))

    def __call__(self, input: Tensor) -> Tensor:
        self.inputs.append(input.detach())
        if onednn(input):
            return linear(input, self.weight) + next(self.biases)
        return torch.addmm(next(self.biases), input, self.weight.t())


class _Biases(torch.autograd.Function):
    """The bias for every row ``(M, O)``: its gradient is that of all the outputs, from which the weights' is made."""

    @staticmethod
    def forward(
        ctx: Any, weight: Tensor, bias: Tensor | None, rows: int, dtype: torch.dtype, inputs: list[Tensor]
    ) -> Tensor:
        ctx.inputs, ctx.weight_dtype = inputs, weight.dtype
        one = weight.new_zeros(len(weight)) if bias is None else bias
        return one.to(dtype).expand(rows, -1)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        weight_gradient = bias_gradient = None
        if ctx.needs_input_grad[0]:
            weight_gradient = linear(gradient.t(), torch.cat(ctx.inputs).to(gradient.dtype).t())
        if ctx.needs_input_grad[1]:
            bias_gradient = gradient.sum(0, dtype=ctx.weight_dtype)
        return weight_gradient, bias_gradient, None, None, None
