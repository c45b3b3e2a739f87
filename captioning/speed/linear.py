"""Linear layers at the full rate of the CPU, also inside a loop over words.

Dimensions: M rows of all steps together, n rows of one step, I inputs, O outputs.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

WORTH_IT = 2**22  # multiplications: below, converting tensors to oneDNN's layout and back takes longer than it saves
NARROW = 16  # outputs


def linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """The result of ``torch.nn.functional.linear``, by oneDNN where that is faster: on a CPU in single precision.

    torch computes these products with MKL, which on an AMD EPYC with AVX-512 has half of oneDNN's rate (90 and 190
    GFLOP/s on one core); torch computes half precision with oneDNN anyway.

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
    """True if oneDNN can compute with a tensor: in single precision, on a CPU."""
    return (
        input.device.type == "cpu"
        and input.dtype == torch.float32
        and not torch.is_autocast_enabled("cpu")
        and torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    )


def _onednn_is_faster(input: Tensor, weight: Tensor) -> bool:
    if torch.compiler.is_compiling():  # the compiler supports dense tensors only
        return False
    enough = input.numel() * len(weight) >= WORTH_IT and len(weight) >= NARROW
    return enough and input.dim() > 1 and weight.dtype == input.dtype and onednn(input)


class FastLinear(nn.Linear):
    """A linear layer by ``linear``, with one product for the weights' gradient in a loop over words.

    Automatic differentiation adds a matrix of the weights' size at every step of a loop. Inside ``repeated`` the inputs
    and the outputs' gradients of all steps are concatenated, and the weights' gradient is one product. Under autocast
    the weights are cast once, and their gradient is summed in full instead of half precision.
    """

    loop: "_Loop | None" = None

    def forward(self, input: Tensor) -> Tensor:
        """The outputs ``(…, O)`` of inputs ``(…, I)``."""
        return linear(input, self.weight, self.bias) if self.loop is None else self.loop(input)


@contextmanager
def repeated(module: nn.Module, sizes: Sequence[int]) -> Iterator[None]:
    """Run the block as a loop over words, see ``FastLinear``.

    Args:
        module: the module whose layers the loop calls; every ``FastLinear`` in it computes its gradient at once.
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
    """The calls of a layer in one loop over words.

    Each call uses the next step's rows of ``_Biases``. A call whose number of rows is not that of the next step (the
    loop does not call the layer once per step) is computed as an ordinary linear layer.
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
    """The bias for every row, ``(M, O)``: from its gradient, that of all outputs, follows the weights' gradient."""

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
