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
    wanted = [*leaves, *(weight for weight in cell.Whh.parameters() if weight.requires_grad)]
    return [*values, *torch.autograd.grad(loss, wanted, allow_unused=True)]


@pytest.mark.parametrize("shape", [(), (3,), (2, 3)], ids=str)
def test_a_step(shape: tuple[int, ...]) -> None:
    """Of one sequence, of several, and of the sequences of several images."""
    plain, fast = both()
    terms, state = leaf(*shape, 4 * H), leaf(*shape, 2 * H)
    expected = found(plain, lambda cell: (cell(terms, state),), [terms, state])
    torch.testing.assert_close(found(fast, lambda cell: (cell(terms, state),), [terms, state]), expected)


@pytest.mark.parametrize("sizes", [(1,), (1, 1, 1), (3, 3), (4, 3, 3, 1)], ids=str)
@pytest.mark.parametrize("frozen", [False, True])
def test_words(sizes: tuple[int, ...], frozen: bool) -> None:
    plain, fast = both()
    for cell in (plain, fast):
        cell.Whh.requires_grad_(not frozen)
    terms, state = leaf(sum(sizes), 4 * H), leaf(sizes[0], 2 * H)
    given = terms.detach().clone(), state.detach().clone()
    expected = found(plain, lambda cell: cell.run_terms(terms, sizes, state), [terms, state])
    torch.testing.assert_close(found(fast, lambda cell: cell.run_terms(terms, sizes, state), [terms, state]), expected)
    torch.testing.assert_close((terms, state), given, atol=0, rtol=0)  # nothing was computed in place of them


@pytest.mark.parametrize("output", [0, 1], ids=["the hidden states", "the last state"])
def test_only_one_output_counts(output: int) -> None:
    plain, fast = both()
    terms, state = leaf(5, 4 * H), leaf(3, 2 * H)

    def run(cell: LSTM) -> tuple[Tensor, ...]:
        return cell.run_terms(terms, (3, 2), state)[output : output + 1]

    torch.testing.assert_close(found(fast, run, [terms, state]), found(plain, run, [terms, state]))


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
    terms, state = torch.randn(5, 4 * H).double(), torch.randn(3, 2 * H).double()
    with torch.no_grad():
        torch.testing.assert_close(fast.run_terms(terms, (3, 2), state), plain.run_terms(terms, (3, 2), state))
        torch.testing.assert_close(fast(terms[:3], state), plain(terms[:3], state))
