"""Linear layers at the full rate of the CPU, also inside a loop over words.

Dimensions: M rows of all steps together, n rows of one step, I inputs, O outputs.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

WORTH_IT = 2**21  # multiplications: below, oneDNN takes longer to begin than it saves
NARROW = 16  # outputs


def linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """The result of ``torch.nn.functional.linear``, by oneDNN where that is faster: on a CPU in single precision.

    torch computes these products with MKL, which on some processors has half of oneDNN's rate (AMD EPYC with AVX-512:
    90 and 190 GFLOP/s on one core), on others the same; torch computes half precision with oneDNN anyway.

    Args:
        input: ``(…, I)``.
        weight: ``(O, I)``, in any layout.
        bias: ``(O,)``.

    Returns:
        ``(…, O)``.
    """
    if not _onednn_is_faster(input, weight):
        return F.linear(input, weight, bias)
    if torch.is_grad_enabled() and any(each is not None and each.requires_grad for each in (input, weight, bias)):
        outputs: Tensor = _Linear.apply(input, weight, bias)
        return outputs
    return _product(input, weight, bias)


def onednn(input: Tensor) -> bool:
    """True if oneDNN can compute with a tensor: in single precision, on a CPU."""
    return (
        input.device.type == "cpu"
        and input.dtype == torch.float32
        and not torch.is_autocast_enabled("cpu")
        and torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    )


def gradient_of(weight: Tensor, gradient: Tensor, inputs: Tensor) -> Tensor:
    """The gradient of a linear layer's weight ``(O, I)``: outputs' gradient ``(M, O)``, inputs ``(M, I)``."""
    return gradients_of(gradient, (weight, inputs))[0]


def gradients_of(gradient: Tensor, *layers: tuple[Tensor, Tensor]) -> list[Tensor]:
    """The gradients of the weights of linear layers whose outputs are added: see ``gradient_of``.

    Args:
        gradient: ``(M, O)``, of the sum of the outputs.
        layers: the weight ``(O, I)`` and the inputs ``(M, I)`` of each layer.
    """
    blocked = None
    found = []
    for weight, inputs in layers:
        if not _onednn_is_faster(inputs, gradient.t()):
            found.append(gradient.t() @ inputs)
            continue
        blocked = gradient.to_mkldnn() if blocked is None else blocked  # a copy, made once
        backward = torch.ops.aten.mkldnn_linear_backward_weights
        found.append(backward(blocked, inputs.to_mkldnn(), weight, False)[0])
    return found


def _onednn_is_faster(input: Tensor, weight: Tensor) -> bool:
    if torch.compiler.is_compiling():  # the compiler has its own choice
        return False
    enough = input.numel() * len(weight) >= WORTH_IT and len(weight) >= NARROW
    return enough and input.dim() > 1 and weight.dtype == input.dtype and onednn(input)


def _product(input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """The product of dense tensors by oneDNN: what torch's own compiler calls, and no public function does."""
    made: Tensor = torch.ops.mkldnn._linear_pointwise(input, weight, bias, "none", [], "")
    return made


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(input, weight)
        return _product(input, weight, bias)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        input, weight = ctx.saved_tensors
        d_input = d_weight = d_bias = None
        if ctx.needs_input_grad[0]:
            d_input = linear(gradient, weight.t())
        if ctx.needs_input_grad[1]:
            d_weight = gradient_of(weight, gradient.flatten(0, -2), input.flatten(0, -2))
        if ctx.needs_input_grad[2]:
            d_bias = gradient.flatten(0, -2).sum(0)
        return d_input, d_weight, d_bias


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
        ctx.save_for_backward(weight)
        one = weight.new_zeros(len(weight)) if bias is None else bias
        return one.to(dtype).expand(rows, -1)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        weight_gradient = bias_gradient = None
        if ctx.needs_input_grad[0]:
            inputs = torch.cat(ctx.inputs).to(gradient.dtype)
            weight_gradient = gradient_of(ctx.saved_tensors[0], gradient[: len(inputs)], inputs)
        if ctx.needs_input_grad[1]:
            bias_gradient = gradient.sum(0, dtype=ctx.weight_dtype)
        return weight_gradient, bias_gradient, None, None, None
