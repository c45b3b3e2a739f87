"""Our dropout does what torch's does."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from captioning.speed.dropout import FastDropout, _draw

SHAPE = (37, 27, 11)  # 10,989 numbers: no multiple of four


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_share_is_dropped_and_the_mean_stays(p: float, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    ones = torch.ones(SHAPE, dtype=dtype)
    dropped = FastDropout(p)(ones)
    assert dropped.dtype == dtype
    assert set(dropped.unique().tolist()) == {0.0, float(ones[0, 0, 0] * (1 / (1 - round(p * 65536) / 65536)))}
    sigma = (p * (1 - p) / ones.numel()) ** 0.5
    assert abs((dropped == 0).float().mean() - p) < 4 * sigma
    assert abs((nn.Dropout(p)(ones) == 0).float().mean() - p) < 4 * sigma  # what torch's is held to by the same bound


def test_neighbours_are_independent() -> None:
    torch.manual_seed(0)
    kept = (FastDropout(0.3)(torch.ones(100_000)) != 0).float()
    for distance in (1, 2, 3, 4, 5):  # four numbers share one draw
        pairs = torch.stack([kept[:-distance], kept[distance:]])
        assert torch.corrcoef(pairs)[0, 1].abs() < 0.015


def test_every_value_is_drawn() -> None:
    torch.manual_seed(0)
    values = _draw(torch.empty(2_000_000)).long()
    assert values.min() == -(2**15) and values.max() == 2**15 - 1
    counts = torch.bincount((values + 2**15) // 4096, minlength=16) / len(values)
    assert (counts - 1 / 16).abs().max() < 0.001


@given(st.lists(st.integers(0, 5), max_size=4), st.sampled_from([0.0, 0.25, 1.0]))
def test_any_shape_and_share(shape: list[int], p: float) -> None:
    x = torch.randn(shape)
    out = FastDropout(p)(x)
    assert out.shape == x.shape
    if p == 1:
        assert not out.any()
    else:
        assert torch.equal(out[out != 0], (x * (1 / (1 - p)))[out != 0])


def test_gradient_and_seed() -> None:
    x = torch.randn(SHAPE, requires_grad=True)
    torch.manual_seed(3)
    out = FastDropout(0.5)(x)
    out.sum().backward()
    assert torch.equal(x.grad, torch.where(out == 0, 0.0, 2.0))
    torch.manual_seed(3)
    assert torch.equal(FastDropout(0.5)(x), out)
    assert not torch.equal(FastDropout(0.5)(x), out)


def test_in_evaluation_nothing_is_dropped_or_drawn() -> None:
    x, before = torch.randn(SHAPE), torch.get_rng_state()
    assert FastDropout(0.5).eval()(x) is x
    assert torch.equal(FastDropout(0.0)(x), x)
    assert torch.equal(torch.get_rng_state(), before)
