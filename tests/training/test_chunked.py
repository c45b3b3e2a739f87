"""The loss in chunks is the loss, and never holds all of the logits."""

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from captioning.cells import RNN
from captioning.core.features import FeatureSpec
from captioning.decoders import NeuralTalk
from captioning.training import objectives
from captioning.training.objectives import CrossEntropy, WordLoss

M, V, H = 53, 31, 6


class Largest(TorchDispatchMode):
    """The numbers in the largest tensor that is made."""

    numbers = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        made = function(*args, **(kwargs or {}))
        self.numbers = max([self.numbers, *(leaf.numel() for leaf in tree_leaves(made) if isinstance(leaf, Tensor))])
        return made


def losses(objective: CrossEntropy, tied: bool, dtype: torch.dtype) -> tuple[WordLoss, dict[str, Tensor], int]:
    """The loss, its gradients, and the largest tensor on the way."""
    torch.manual_seed(0)
    decoder = NeuralTalk(
        V, FeatureSpec(pooled=(3,), grid=(1, 1, 3)), RNN, embedding_size=H, hidden_size=H, tied=tied
    ).to(dtype)
    hidden = torch.randn(M, H, dtype=dtype, requires_grad=True)
    with Largest() as largest:
        words = objective.of(decoder, hidden, torch.randint(V, (M,)), sequences=5)
        (3 * words.loss).backward()
    gradients = {name: p.grad for name, p in decoder.named_parameters() if p.grad is not None}
    assert hidden.grad is not None
    return words, {**gradients, "hidden": hidden.grad}, largest.numbers


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("settings", [{}, {"label_smoothing": 0.1}, {"per": "sequence"}], ids=str)
def test_chunks_are_the_whole_and_so_are_their_gradients(
    settings: dict, tied: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    objective = CrossEntropy(**settings)
    whole, expected, largest = losses(objective, tied, torch.float64)
    assert largest == M * V
    monkeypatch.setattr(objectives, "AT_ONCE", 10 * V + 3)
    words, found, largest = losses(objective, tied, torch.float64)
    assert largest == max(10 * V, M * H)
    torch.testing.assert_close(words.loss, whole.loss)
    torch.testing.assert_close(words.log_likelihood, whole.log_likelihood)
    torch.testing.assert_close(found, expected)
    assert not words.log_likelihood.requires_grad and not whole.log_likelihood.requires_grad


def test_in_half_precision_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    _, expected, _ = losses(CrossEntropy(), False, torch.float32)
    monkeypatch.setattr(objectives, "AT_ONCE", 10 * V)
    with torch.autocast("cpu", torch.bfloat16):
        words, found, _ = losses(CrossEntropy(), False, torch.float32)
    assert words.loss.dtype == torch.float32
    assert {name: gradient.dtype for name, gradient in found.items()} == dict.fromkeys(expected, torch.float32)
    for name, gradient in found.items():
        torch.testing.assert_close(gradient, expected[name], atol=0.02 * float(expected[name].abs().max()), rtol=0.02)
