"""The LSTM whose gradients are written out is the plain LSTM, in values and gradients."""

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from captioning.cells import LSTM
from captioning.speed import make_fast

E, H = 5, 4


def both(dtype: torch.dtype = torch.double) -> tuple[LSTM, LSTM]:
    """A plain cell and its fast copy."""
    torch.manual_seed(0)
    plain = LSTM(E, H).to(dtype)
    return plain, make_fast(copy.deepcopy(plain))


def leaf(*shape: int, dtype: torch.dtype = torch.double) -> Tensor:
    return torch.randn(*shape, dtype=dtype).requires_grad_()


def found(cell: LSTM, run: Callable[[LSTM], tuple[Tensor, ...]], leaves: list[Tensor]) -> list[Tensor | None]:
    """Values, and the gradients of a sum that weighs each of them differently."""
    values = run(cell)
    loss = sum((value * torch.linspace(-1, 2, value.numel()).view_as(value)).sum() for value in values)
    wanted = [*leaves, *(weight for weight in cell.parameters() if weight.requires_grad)]
    return [*values, *torch.autograd.grad(loss, wanted, allow_unused=True)]


@pytest.mark.parametrize("shape", [(), (3,), (2, 3)], ids=str)
def test_a_step(shape: tuple[int, ...]) -> None:
    """Of one sequence, of several, and of the sequences of several images."""
    plain, fast = both()
    terms, state = leaf(*shape, 4 * H), leaf(*shape, 2 * H)
    expected = found(plain, lambda cell: (cell(terms, state),), [terms, state])
    torch.testing.assert_close(found(fast, lambda cell: (cell(terms, state),), [terms, state]), expected)


@pytest.mark.parametrize("sizes", [(1,), (1, 1, 1), (3, 3), (4, 3, 3, 1)], ids=str)
@pytest.mark.parametrize("frozen", ["nothing", "Wxh", "Whh"])
@pytest.mark.parametrize("images", ["none", "first", "all"])
def test_words(sizes: tuple[int, ...], frozen: str, images: str) -> None:
    """With the image's term at no word, at the first and at every word."""
    plain, fast = both()
    for cell in (plain, fast):
        for name in {"Wxh", "Whh"} & {frozen}:
            getattr(cell, name).requires_grad_(False)
    x, state = leaf(sum(sizes), E), leaf(sizes[0], 2 * H)
    rows = {"first": sizes[0], "all": sum(sizes)}.get(images)
    image = None if rows is None else leaf(rows, 4 * H)
    leaves = [each for each in (x, state, image) if each is not None]
    given = [each.detach().clone() for each in leaves]
    expected = found(plain, lambda cell: cell.run(x, sizes, state, image), leaves)
    torch.testing.assert_close(found(fast, lambda cell: cell.run(x, sizes, state, image), leaves), expected)
    torch.testing.assert_close(leaves, given, atol=0, rtol=0)  # nothing was computed in place of them


@pytest.mark.parametrize("wanted", ["x", "state", "image"])
def test_only_one_input_wants_a_gradient(wanted: str) -> None:
    """Of frozen weights, as of a cell that only hands gradients on."""
    plain, fast = both()
    parts = {"x": torch.randn(5, E), "state": torch.randn(3, 2 * H), "image": torch.randn(3, 4 * H)}
    parts = {name: part.double() for name, part in parts.items()}
    parts[wanted].requires_grad_()

    def run(cell: LSTM) -> tuple[Tensor, ...]:
        cell.requires_grad_(False)
        return cell.run(parts["x"], (3, 2), parts["state"], parts["image"])

    torch.testing.assert_close(found(fast, run, [parts[wanted]]), found(plain, run, [parts[wanted]]))


def test_gradients_of_both_biases_are_two_tensors() -> None:
    """They are equal, and clipping scales each in its place."""
    _, fast = both()
    hidden, _ = fast.run(leaf(5, E), (3, 2), leaf(3, 2 * H))
    hidden.sum().backward()
    assert fast.Wxh.bias.grad is not None and fast.Whh.bias.grad is not None
    torch.testing.assert_close(fast.Wxh.bias.grad, fast.Whh.bias.grad)
    assert fast.Wxh.bias.grad.data_ptr() != fast.Whh.bias.grad.data_ptr()


@pytest.mark.parametrize("output", [0, 1], ids=["the hidden states", "the last state"])
def test_only_one_output_counts(output: int) -> None:
    plain, fast = both()
    x, state = leaf(5, E), leaf(3, 2 * H)

    def run(cell: LSTM) -> tuple[Tensor, ...]:
        return cell.run(x, (3, 2), state)[output : output + 1]

    torch.testing.assert_close(found(fast, run, [x, state]), found(plain, run, [x, state]))


def test_sequences_share_a_state() -> None:
    """One state of an image for the terms of its three captions."""
    plain, fast = both()
    terms, state = leaf(2, 3, 4 * H), leaf(2, 1, 2 * H)
    expected = found(plain, lambda cell: (cell(terms, state),), [terms, state])
    torch.testing.assert_close(found(fast, lambda cell: (cell(terms, state),), [terms, state]), expected)


def test_half_precision_is_as_near_to_the_truth_as_the_plain_loop() -> None:
    """Under autocast: products in bfloat16, sums in full."""
    torch.manual_seed(0)
    plain = LSTM(64, 128)
    fast, exact = make_fast(copy.deepcopy(plain)), copy.deepcopy(plain).double()
    x, sizes = torch.randn(9 * 8, 64), (9,) * 4 + (7,) * 4
    x = x[: sum(sizes)]

    def run(cell: LSTM, x: Tensor) -> list[Tensor | None]:
        leaves = x.clone().requires_grad_()
        state = cell.initial(sizes[0], like=x)
        return found(cell, lambda cell: cell.run(leaves, sizes, state), [leaves])

    truth = run(exact, x.double())
    with torch.autocast("cpu", torch.bfloat16):
        ours, theirs = run(fast, x), run(plain, x)
    for mine, other, right in zip(ours, theirs, truth, strict=True):
        assert mine is not None and other is not None and right is not None
        assert mine.dtype == other.dtype
        error, allowed = ((each.double() - right).norm() / right.norm() for each in (mine, other))
        assert error < 1.1 * allowed + 1e-6
        assert error < 0.02


def test_no_gradient_is_asked_for() -> None:
    plain, fast = both()
    x, terms, state = torch.randn(5, E).double(), torch.randn(3, 4 * H).double(), torch.randn(3, 2 * H).double()
    with torch.no_grad():
        torch.testing.assert_close(fast.run(x, (3, 2), state), plain.run(x, (3, 2), state))
        torch.testing.assert_close(fast(terms, state), plain(terms, state))
