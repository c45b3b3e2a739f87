"""A sum over rows, and its gradients, without ever holding what lies between for all of the rows.

Dimensions: M rows, O inputs of each.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

Rows = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


def sum_in_chunks(
    function: Rows, inputs: Tensor, targets: Tensor, parameters: Sequence[Tensor], rows: int
) -> tuple[Tensor, Tensor]:
    """Sum a function of rows, some rows at a time.

    The gradient of each chunk is taken as soon as its sum is known, while its logits are there, and kept until it is
    asked for: nothing is computed twice. (As in Hsu et al., "Liger Kernel", 2024, arXiv 2410.10989, section 3.2.)

    Args:
        function: some of the inputs and targets to their sum, and to a number for each, through which no gradient goes.
        inputs: ``(M, O)``.
        targets: ``(M,)``.
        parameters: what else the sum depends on.
        rows: of a chunk.

    Returns:
        The sum, and the numbers ``(M,)``.
    """
    total, each = _Chunks.apply(function, rows, inputs, targets, *parameters)
    return total, each


class _Chunks(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, function: Rows, rows: int, inputs: Tensor, targets: Tensor, *parameters: Tensor
    ) -> tuple[Tensor, Tensor]:
        totals, numbers, gradients = [], [], []
        sums: list[Tensor | None] = [None] * len(parameters)
        for part, wanted in zip(torch.split(inputs, rows), torch.split(targets, rows), strict=True):
            with torch.enable_grad():
                part = part.detach().requires_grad_()
                total, each = function(part, wanted)
                gradient, *found = torch.autograd.grad(total, [part, *parameters], allow_unused=True)
            sums = [new if old is None else old.add_(new) for old, new in zip(sums, found, strict=True)]
            totals.append(total.detach())
            numbers.append(each.detach())
            gradients.append(gradient)
        ctx.save_for_backward(torch.cat(gradients), *sums)
        numbers_of_all = torch.cat(numbers)
        ctx.mark_non_differentiable(numbers_of_all)
        return torch.stack(totals).sum(), numbers_of_all

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        inputs, *parameters = (None if saved is None else gradient * saved for saved in ctx.saved_tensors)
        return None, None, inputs, None, *parameters
