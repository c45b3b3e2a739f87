"""The loss of the words against torch's own, and learning rates over a run."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from captioning.training.objectives import CrossEntropy
from captioning.training.schedules import constant, cosine


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.5, 1.0])
@pytest.mark.parametrize("seed", range(3))
def test_values_and_gradients_are_torchs(smoothing: float, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(13, 7, generator=generator) * 3
    targets = torch.randint(7, (13,), generator=generator)
    ours, theirs = (logits.clone().requires_grad_() for _ in range(2))
    found = CrossEntropy(smoothing)(ours, targets)
    expected = F.cross_entropy(theirs, targets, label_smoothing=smoothing)
    torch.testing.assert_close(found.loss, expected)
    found.loss.backward()
    expected.backward()
    torch.testing.assert_close(ours.grad, theirs.grad)
    torch.testing.assert_close(found.log_likelihood, -F.cross_entropy(logits, targets, reduction="none"))


def test_half_precision_logits_are_summed_in_single() -> None:
    logits = torch.full((4, 5000), 0.1, dtype=torch.bfloat16)
    found = CrossEntropy()(logits, torch.zeros(4, dtype=torch.long))
    assert found.loss.item() == pytest.approx(math.log(5000), rel=1e-6)


def test_certain_and_wrong_is_large_and_finite() -> None:
    found = CrossEntropy(0.1)(torch.tensor([[1e4, 0.0], [0.0, 1e4]]), torch.tensor([1, 1]))
    assert found.log_likelihood.tolist() == [-1e4, 0.0]
    assert found.loss.isfinite()


@given(st.integers(1, 500), st.integers(0, 50), st.floats(0, 1))
def test_cosine_rises_then_falls_to_its_end(steps: int, warmup: int, final: float) -> None:
    shares = [cosine(step, steps + warmup, warmup, final) for step in range(steps + warmup + 1)]
    assert shares[: warmup + 1] == sorted(shares[: warmup + 1])
    assert shares[warmup] == 1.0
    assert shares[warmup:] == sorted(shares[warmup:], reverse=True)
    assert shares[-1] == pytest.approx(final)
    assert cosine(steps + warmup + 5, steps + warmup, warmup, final) == pytest.approx(final)


def test_cosine_is_torchs() -> None:
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0)
    theirs = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=20, eta_min=0.1)
    for step in range(21):
        assert cosine(step, 20, 0, 0.1) == pytest.approx(theirs.get_last_lr()[0])
        optimizer.step()
        theirs.step()


def test_constant_after_a_rise() -> None:
    assert [constant(step, 100, 3) for step in range(5)] == [0.25, 0.5, 0.75, 1.0, 1.0]
    assert constant(0, 100) == 1.0


def test_per_sequence_the_words_losses_are_summed() -> None:
    logits, targets = torch.randn(12, 5), torch.randint(5, (12,))
    mean, summed = (CrossEntropy(0.1, per)(logits, targets, 4) for per in ("word", "sequence"))
    torch.testing.assert_close(summed.loss, mean.loss * 12 / 4)
    assert torch.equal(summed.log_likelihood, mean.log_likelihood)
