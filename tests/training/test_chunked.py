"""The loss in chunks is the loss, and never holds all of the logits."""

from importlib import import_module

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from captioning.cells import RNN
from captioning.core.features import FeatureSpec
from captioning.decoders import NeuralTalk
from captioning.training.objectives import word_loss

M, V, H = 53, 31, 6
MODULE = import_module("captioning.training.objectives.word_loss")


class Largest(TorchDispatchMode):
    """The numbers in the largest tensor that is made."""

    numbers = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        made = function(*args, **(kwargs or {}))
        self.numbers = max([self.numbers, *(leaf.numel() for leaf in tree_leaves(made) if isinstance(leaf, Tensor))])
        return made


Losses = tuple[Tensor, Tensor, dict[str, Tensor], int]


def losses(tied: bool, dtype: torch.dtype, weighed: bool = False, label_smoothing: float = 0.0) -> Losses:
    """The loss, the log-likelihoods, the gradients, and the largest tensor on the way."""
    torch.manual_seed(0)
    spec = FeatureSpec(pooled=(3,))
    decoder = NeuralTalk(V, spec, RNN, embedding_size=H, hidden_size=H, tied=tied).to(dtype)
    hidden, weights = torch.randn(M, H, dtype=dtype, requires_grad=True), torch.randn(M, dtype=dtype)
    with Largest() as largest:
        total, log_likelihood = word_loss(
            decoder, hidden, torch.randint(V, (M,)), weights if weighed else None, label_smoothing
        )
        (3 * total).backward()
    gradients = {name: p.grad for name, p in decoder.named_parameters() if p.grad is not None}
    assert hidden.grad is not None
    return total, log_likelihood, {**gradients, "hidden": hidden.grad}, largest.numbers


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("weighed", [False, True])
@pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
def test_chunks_are_the_whole_and_so_are_their_gradients(
    label_smoothing: float, weighed: bool, tied: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, likely, expected, largest = losses(tied, torch.float64, weighed, label_smoothing)
    assert largest == M * V
    monkeypatch.setattr(MODULE, "AT_ONCE", 10 * V + 3)
    total, log_likelihood, found, largest = losses(tied, torch.float64, weighed, label_smoothing)
    assert largest == max(10 * V, M * H)
    torch.testing.assert_close(total, whole)
    torch.testing.assert_close(log_likelihood, likely)
    torch.testing.assert_close(found, expected)
    assert not log_likelihood.requires_grad and not likely.requires_grad


def test_in_half_precision_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    _, _, expected, _ = losses(False, torch.float32)
    monkeypatch.setattr(MODULE, "AT_ONCE", 10 * V)
    with torch.autocast("cpu", torch.bfloat16):
        total, _, found, _ = losses(False, torch.float32)
    assert total.dtype == torch.float32
    assert {name: gradient.dtype for name, gradient in found.items()} == dict.fromkeys(expected, torch.float32)
    for name, gradient in found.items():
        torch.testing.assert_close(gradient, expected[name], atol=0.02 * float(expected[name].abs().max()), rtol=0.02)
