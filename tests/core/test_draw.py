"""Draws from discrete distributions."""

import pytest
import torch
from torch import Tensor

from captioning.core.draw import draw

ROWS = 40_000


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_frequencies_are_the_probabilities(dtype: torch.dtype) -> None:
    """Of a hundred indices, some of which are impossible; the sum is not 1."""
    weights = torch.rand(100, generator=torch.Generator().manual_seed(0)) ** 4
    weights[[0, 1, 50, 99]] = 0
    weights = (3 * weights).to(dtype)
    found = draw(weights.expand(2, ROWS, 100), torch.Generator().manual_seed(1))
    assert found.shape == (2, ROWS) and found.dtype == torch.long
    p = weights.double() / weights.double().sum()
    counts = torch.bincount(found.flatten(), minlength=100)
    assert (counts[weights == 0] == 0).all()
    deviation = (counts / (2 * ROWS) - p).abs() / (p * (1 - p) / (2 * ROWS)).sqrt().clamp_min(1e-12)
    assert deviation.max() < 4.5


def test_a_certain_index_is_drawn_wherever_it_is() -> None:
    certain = torch.eye(7).repeat(50, 1)
    assert torch.equal(draw(certain), torch.arange(7).repeat(50))


def test_an_unlikely_index_behind_a_likely_one_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """In single precision 1 + 1e-8 is 1, and the last one would never come."""
    monkeypatch.setattr(torch, "rand", lambda *_, **given: torch.full((1, 1), 1 - 1e-10, dtype=torch.double))
    assert draw(torch.tensor([[1.0, *[1e-8] * 10]])).tolist() == [10]


def test_the_seed_decides() -> None:
    weights = torch.rand(200, 9)

    def drawn(seed: int) -> Tensor:
        return draw(weights, torch.Generator().manual_seed(seed))

    assert torch.equal(drawn(1), drawn(1)) and not torch.equal(drawn(1), drawn(2))
    torch.manual_seed(3)
    first = draw(weights)
    torch.manual_seed(3)
    assert torch.equal(first, draw(weights))


def test_rows_are_independent() -> None:
    found = draw(torch.ones(20_000, 2, 3))
    pairs = torch.bincount(3 * found[:, 0] + found[:, 1], minlength=9)
    assert (pairs / 20_000 - 1 / 9).abs().max() < 0.01
