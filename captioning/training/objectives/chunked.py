"""A loss of logits and its gradients, without the logits of all rows in memory at once.

Dimensions: M rows, O inputs and V logits of a row.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

Loss = Callable[[Tensor, Tensor, Tensor | None], tuple[Tensor, Tensor, Tensor]]


def sum_in_chunks(
    layer: Callable[[Tensor], Tensor],
    loss: Loss,
    inputs: Tensor,
    targets: Tensor,
    parameters: Sequence[Tensor],
    rows: int,
    weights: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """The sum over all rows of a loss of logits, computed in chunks of rows.

    The gradient of each chunk is computed directly after its loss, from the same logits, and kept until the backward
    pass: nothing is computed twice. (As in Hsu et al., "Liger Kernel", 2024, arXiv 2410.10989, section 3.2.)

    Args:
        layer: a function from inputs ``(m, O)`` to logits ``(m, V)``.
        loss: a function from logits, targets and weights to the summed loss, a number for each row (without a
            gradient), and the gradient of the sum with respect to the logits.
        inputs: ``(M, O)``.
        targets: ``(M,)``.
        parameters: the parameters of the layer; parameters without effect on the layer are allowed.
        rows: the number of rows in a chunk.
        weights: ``(M,)``, the rows' weights, if any.

    Returns:
        The sum, and the numbers ``(M,)``.
    """
    total, each = _Chunks.apply(layer, loss, rows, inputs, targets, weights, *parameters)
    return total, each


class _Chunks(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        layer: Callable[[Tensor], Tensor],
        loss: Loss,
        rows: int,
        inputs: Tensor,
        targets: Tensor,
        weights: Tensor | None,
        *parameters: Tensor,
    ) -> tuple[Tensor, Tensor]:
        totals, numbers, gradients = [], [], []
        sums: list[Tensor | None] = [None] * len(parameters)
        parts = torch.split(inputs, rows)
        weighed = [None] * len(parts) if weights is None else torch.split(weights, rows)
        for part, wanted, weight in zip(parts, torch.split(targets, rows), weighed, strict=True):
            with torch.enable_grad():
                part = part.detach().requires_grad_()
                logits = layer(part)
            total, each, slope = loss(logits.detach(), wanted, weight)
            gradient, *found = torch.autograd.grad(logits, [part, *parameters], slope, allow_unused=True)
            sums = [new if old is None else old.add_(new) for old, new in zip(sums, found, strict=True)]
            totals.append(total)
            numbers.append(each)
            gradients.append(gradient)
        ctx.save_for_backward(torch.cat(gradients), *sums)
        numbers_of_all = torch.cat(numbers)
        ctx.mark_non_differentiable(numbers_of_all)
        return torch.stack(totals).sum(), numbers_of_all

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        inputs, *parameters = (None if saved is None else gradient * saved for saved in ctx.saved_tensors)
        return None, None, None, inputs, None, None, *parameters
