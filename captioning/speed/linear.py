"""Linear layers at the full rate of the CPU, also inside of a loop over words.

Dimensions: M rows of all steps together, n rows of one step, I inputs, O outputs.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

WORTH_IT = 2**22  # multiplications: below, bringing the tensors to oneDNN and back takes longer than it saves
NARROW = 16  # outputs


def linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """``torch.nn.functional.linear``, by oneDNN where that is faster: on a CPU in single precision.

    torch asks MKL for these products, which on an AMD EPYC with AVX-512 has half of oneDNN's rate (90 and 190 GFLOP/s
    on one core); half precision is oneDNN's anyway.

    Args:
        input: ``(…, I)``.
        weight: ``(O, I)``.
        bias: ``(O,)``.

    Returns:
        ``(…, O)``.
    """
    if _onednn_is_faster(input, weight):
        return F.linear(input.to_mkldnn(), weight, bias).to_dense()
    return F.linear(input, weight, bias)


def onednn(input: Tensor) -> bool:
    """Whether oneDNN takes a tensor: in single precision, on a CPU."""
    return (
        input.device.type == "cpu"
        and input.dtype == torch.float32
        and not torch.is_autocast_enabled("cpu")
        and torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    )


def _onednn_is_faster(input: Tensor, weight: Tensor) -> bool:
    if torch.compiler.is_compiling():  # the compiler knows dense tensors alone
        return False
    enough = input.numel() * len(weight) >= WORTH_IT and len(weight) >= NARROW
    return enough and input.dim() > 1 and weight.dtype == input.dtype and onednn(input)


class FastLinear(nn.Linear):
    """``torch.nn.Linear`` by ``linear``, and in a loop over words with one product for the weights' gradient.

    Automatic differentiation adds up a matrix of the size of the weights at every step of a loop. Inside of
    ``repeated`` the inputs and the outputs' gradients of all steps are put together, and the weights' gradient is one
    product. Under autocast the weights are cast once, and that gradient is summed in full precision and not in half.
    """

    loop: "_Loop | None" = None

    def forward(self, input: Tensor) -> Tensor:
        """``(…, I)`` to ``(…, O)``."""
        return linear(input, self.weight, self.bias) if self.loop is None else self.loop(input)


@contextmanager
def repeated(module: nn.Module, sizes: Sequence[int]) -> Iterator[None]:
    """A loop over words.

    Args:
        module: holds the layers that the loop calls; those of them that are ``FastLinear`` profit.
        sizes: the number of rows of each step.
    """
    if not torch.is_grad_enabled():
        yield
        return
    layers = [part for part in module.modules() if isinstance(part, FastLinear)]
    for layer in layers:
        layer.loop = _Loop(layer, sizes)
    try:
        yield
    finally:
        for layer in layers:
            layer.loop = None


class _Loop:
    """One pass of a layer through a loop.

    Each call takes the next step's rows of ``_Biases``. A call whose rows are not those of the next step, because the
    loop calls the layer in another way than once a step, is computed by itself.
    """

    def __init__(self, layer: nn.Linear, sizes: Sequence[int]) -> None:
        self.layer, self.sizes, self.calls = layer, sizes, 0
        self.inputs: list[Tensor] = []

    def __call__(self, input: Tensor) -> Tensor:
        call = self.calls
        if call == len(self.sizes) or input.dim() != 2 or input.shape[0] != self.sizes[call]:
            return linear(input, self.layer.weight, self.layer.bias)
        if call == 0:
            self._begin(input)
        self.calls += 1
        self.inputs.append(input.detach())
        if self.onednn:
            return linear(input, self.weight) + self.biases[call]
        return torch.addmm(self.biases[call], input, self.transposed)

    def _begin(self, input: Tensor) -> None:
        weight, device = self.layer.weight, self.layer.weight.device.type
        dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else weight.dtype
        self.weight, self.onednn = weight.detach().to(dtype), onednn(input)
        self.transposed = self.weight.t()
        biases: Tensor = _Biases.apply(weight, self.layer.bias, sum(self.sizes), dtype, self.inputs)
        self.biases = torch.split(biases, list(self.sizes))


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
            inputs = torch.cat(ctx.inputs).to(gradient.dtype)
            weight_gradient = linear(gradient[: len(inputs)].t(), inputs.t())
        if ctx.needs_input_grad[1]:
            bias_gradient = gradient.sum(0, dtype=ctx.weight_dtype)
        return weight_gradient, bias_gradient, None, None, None
