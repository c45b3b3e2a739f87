"""A loop whose weights' gradient is one product, against the plain loop."""

from collections.abc import Sequence
from contextlib import nullcontext

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from captioning.cells import GRU, LSTM, RNN, Cell, PeepholeLSTM
from captioning.speed import make_fast
from captioning.speed.linear import FastLinear, repeated

E, H, P = 3, 4, 2
SIZES = (4, 4, 3, 1)
CELLS = [RNN, LSTM, GRU, PeepholeLSTM]


def plain_run(cell: Cell, terms: Tensor, sizes: Sequence[int], state: Tensor) -> tuple[Tensor, Tensor]:
    """The definition: step after step, nothing put together."""
    hidden, last = [], state
    for step in terms.split(list(sizes)):
        last = torch.cat([cell(step, last[: len(step)]), last[len(step) :]])
        hidden.append(last[: len(step), : cell.hidden_size])
    return torch.cat(hidden), last


def inputs(kind: type[Cell]) -> tuple[Cell, list[Tensor]]:
    """A cell in double precision; terms, a state, and its weights."""
    torch.manual_seed(0)
    cell = make_fast(kind(E, H, P).double())
    terms = torch.randn(sum(SIZES), cell.gates * H, dtype=torch.double, requires_grad=True)
    state = torch.randn(SIZES[0], cell.memories * H, dtype=torch.double, requires_grad=True)
    return cell, [terms, state, cell.Whh.weight, cell.Whh.bias]


@pytest.mark.parametrize("kind", CELLS)
def test_a_run_is_the_plain_loop(kind: type[Cell]) -> None:
    cell, (terms, state, *weights) = inputs(kind)
    found = {}
    for name, run in {"ours": cell.run_terms, "plain": lambda *arguments: plain_run(cell, *arguments)}.items():
        hidden, last = run(terms, SIZES, state)
        loss = hidden.square().sum() + last.pow(3).sum()
        found[name] = (hidden, last, torch.autograd.grad(loss, [terms, state, *weights]))
    torch.testing.assert_close(found["ours"], found["plain"], atol=1e-12, rtol=1e-12)


@pytest.mark.parametrize("kind", CELLS)
def test_gradients_are_those_of_finite_differences(kind: type[Cell]) -> None:
    cell, (terms, state, *_) = inputs(kind)
    weights = {name: weight for name, weight in cell.named_parameters() if name.startswith("Whh")}

    def run(terms: Tensor, state: Tensor, *values: Tensor) -> tuple[Tensor, Tensor]:
        class Runs(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.cell = cell

            def forward(self) -> tuple[Tensor, Tensor]:
                return self.cell.run_terms(terms, SIZES, state)

        named = {f"cell.{name}": value for name, value in zip(weights, values, strict=True)}
        found: tuple[Tensor, Tensor] = torch.func.functional_call(Runs(), named, ())
        return found

    assert torch.autograd.gradcheck(run, (terms, state, *weights.values()))


class Products(TorchDispatchMode):
    """The shapes of the matrix products."""

    def __init__(self) -> None:
        super().__init__()
        self.shapes: list[tuple[int, ...]] = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        made = function(*args, **(kwargs or {}))
        if function in (torch.ops.aten.mm.default, torch.ops.aten.addmm.default):
            self.shapes.append(tuple(made.shape))
        return made


@pytest.mark.parametrize("put_together", [True, False])
def test_the_gradient_is_one_product(put_together: bool) -> None:
    layer, x = FastLinear(E, H), torch.randn(3, 5, E)
    with Products() as products:
        with repeated(nn.ModuleDict({"inside": layer}), [5, 5, 5]) if put_together else nullcontext():
            outputs = [layer(step) for step in x]
        torch.cat(outputs).square().sum().backward()
    assert products.shapes == [(5, H)] * 3 + [(H, E)] * (1 if put_together else 3)
    expected = torch.autograd.grad(nn.functional.linear(x, layer.weight, layer.bias).square().sum(), layer.weight)
    torch.testing.assert_close(layer.weight.grad, *expected)
    assert layer.loop is None


def test_frozen_weights_and_no_gradient_at_all() -> None:
    layer, x = FastLinear(E, H, bias=False), torch.randn(2, E, requires_grad=True)
    layer.requires_grad_(False)
    with repeated(layer, [2]):
        found = layer(x)
    torch.testing.assert_close(found, nn.functional.linear(x, layer.weight))
    found.sum().backward()
    torch.testing.assert_close(x.grad, layer.weight.sum(0).expand(2, -1))
    with torch.no_grad(), repeated(layer, [2]):
        assert layer.loop is None


def test_the_loop_ends_with_an_error_too() -> None:
    layer = FastLinear(E, H)
    with pytest.raises(ZeroDivisionError), repeated(layer, [1]):
        _ = 1 / 0
    assert layer.loop is None


def test_half_precision_is_summed_in_full() -> None:
    """A thousand steps: in half precision the sum of their gradients would stop growing."""
    layer, x = FastLinear(2, 1), torch.ones(1000, 1, 2)
    with torch.autocast("cpu", torch.bfloat16), repeated(layer, [1] * 1000):
        outputs = torch.cat([layer(step) for step in x])
    assert outputs.dtype == torch.bfloat16
    outputs.float().sum().backward()
    assert layer.weight.grad is not None and layer.bias.grad is not None
    assert layer.weight.grad.tolist() == [[1000.0, 1000.0]]
    assert layer.bias.grad.tolist() == [1000.0]


@pytest.mark.parametrize(
    "calls", [[[3], [2]], [[3, 3], [2, 2]], [[3], [2, 2], [3]], [[2]], [[3, 1]], [[5, 3]], []], ids=str
)
def test_a_layer_that_is_not_called_once_a_step_is_right_too(calls: list[list[int]]) -> None:
    """By a loop whose two steps have three rows and two."""
    layer, x = FastLinear(E, H), torch.randn(5, E, requires_grad=True)

    def outputs() -> Tensor:
        parts = [layer(x[:rows]) for step in calls for rows in step]
        return sum((part.pow(3).sum() for part in parts), layer.bias.sum() + layer.weight.sum() + x.sum())

    expected = torch.autograd.grad(outputs(), [x, *layer.parameters()])
    with repeated(layer, [3, 2]):
        found = outputs()
    torch.testing.assert_close(torch.autograd.grad(found, [x, *layer.parameters()]), expected)
