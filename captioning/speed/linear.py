"""Linear layers at the full rate of the CPU.

Dimensions: I inputs, O outputs.
"""

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


class Linear(nn.Linear):
    """``torch.nn.Linear`` by ``linear``."""

    def forward(self, input: Tensor) -> Tensor:
        """``(…, I)`` to ``(…, O)``."""
        return linear(input, self.weight, self.bias)


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
