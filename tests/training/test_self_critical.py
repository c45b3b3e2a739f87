"""Self-critical training against the exact gradient of the expected reward, and what its settings do."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from captioning.cells import GRU, RNN
from captioning.core.errors import CaptioningError
from captioning.core.features import Features, FeatureSpec
from captioning.core.packing import Packing
from captioning.core.vocabulary import END, SPECIAL, CharacterVocabulary, Vocabulary
from captioning.data.batches import Batch
from captioning.decoders import Decoder, NeuralTalk, ShowAttendTell
from captioning.metrics import CiderReward
from captioning.training.objectives import CrossEntropy, SelfCritical
from captioning.training.objectives.self_critical import advantages

VOCABULARY = Vocabulary([*SPECIAL, "a", "dog", "runs"])
REFERENCES = [["a dog runs", "a dog"], ["runs", "a dog runs a"], ["dog a", "dog dog"]]
P, LENGTH = 4, 3


def captions() -> list[tuple[int, ...]]:
    """Every caption of up to three tokens: with END, or cut."""
    words = range(len(SPECIAL), len(VOCABULARY))
    ended = [(*said, END) for n in range(LENGTH) for said in product(words, repeat=n)]
    return ended + list(product(words, repeat=LENGTH))


ALL = captions()


@pytest.fixture
def decoder() -> Decoder:
    torch.manual_seed(0)
    made = NeuralTalk(len(VOCABULARY), FeatureSpec(pooled=(P,)), GRU, embedding_size=6, hidden_size=6).double()
    torch.nn.init.normal_(made.word_layer.bias)  # so that some captions are far likelier than others
    return made.train()


@pytest.fixture
def features() -> Features:
    return Features(pooled=torch.randn(2, P, generator=torch.Generator().manual_seed(1)).double())


def batch_of(features: Features, photos: tuple[int, ...] = (2, 0)) -> Batch:
    """Two of the three photographs, each with one caption."""
    tokens = torch.tensor([[[1, 5, 6, 2]], [[1, 4, 2, 0]]])
    packing = Packing.of(tokens[..., 1:])
    return Batch(
        torch.tensor(photos),
        features,
        None,
        packing.pack(tokens[..., :-1]),
        packing.pack(tokens[..., 1:]),
        packing,
    )


def objective(**settings: Any) -> SelfCritical:
    made = SelfCritical(**{"max_length": LENGTH, **settings})
    made.begin(VOCABULARY, REFERENCES)
    return made


def padded(rows: list[list[tuple[int, ...]]]) -> Tensor:
    T = max(len(caption) for row in rows for caption in row)
    return torch.tensor([[[*caption, *[0] * (T - len(caption))] for caption in row] for row in rows])


def log_probabilities(decoder: Decoder, features: Features, temperature: float = 1.0) -> Tensor:
    """``(2, captions)``: of each caption, in the distribution that is drawn from; by ``step`` alone."""
    result = []
    for caption in ALL:
        state, fed, total = decoder.start(features), 1, torch.zeros(2, dtype=torch.double)
        for word in caption:
            logits, state = decoder.step(torch.full((2, 1), fed), state)
            said = logits[:, 0].clone()
            said[:, [0, 1, 3]] = -torch.inf
            total = total + (said / temperature).log_softmax(-1)[:, word]
            fed = word
        result.append(total)
    return torch.stack(result, dim=1)


def rewards_of_all(made: SelfCritical, photos: tuple[int, ...] = (2, 0)) -> Tensor:
    return made.rewards_of(padded([ALL, ALL]), torch.tensor(photos)).double()


def gradients(decoder: Decoder, loss: Tensor) -> dict[str, Tensor]:
    names, weights = zip(*((n, p) for n, p in decoder.named_parameters()), strict=True)
    found = torch.autograd.grad(loss, weights, allow_unused=True)
    return {n: torch.zeros_like(w) if g is None else g for n, w, g in zip(names, weights, found, strict=True)}


def test_all_captions_are_all_there_are(decoder: Decoder, features: Features) -> None:
    total = log_probabilities(decoder, features).exp().sum(1)
    torch.testing.assert_close(total, torch.ones_like(total))


@pytest.mark.parametrize("temperature", [1.0, 0.7])
@pytest.mark.parametrize("baseline", ["leave_one_out", "mean", "greedy"])
def test_the_expected_gradient_is_that_of_the_expected_reward(
    baseline: str, temperature: float, decoder: Decoder, features: Features, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every pair of samples at once, each weighted by its probability, against autograd on Σ p(c) r(c)."""
    made = objective(samples=2, baseline=baseline, temperature=temperature)
    log_p = log_probabilities(decoder, features, temperature)
    expected = gradients(decoder, -(log_p.exp() * rewards_of_all(made)).sum())
    pairs = [[first, second] for first in range(len(ALL)) for second in range(len(ALL))]
    image = torch.arange(2).repeat_interleave(len(pairs))
    p = log_p.exp().detach()[image.unsqueeze(1), torch.tensor(pairs * 2)].prod(1, keepdim=True)  # (2 · pairs, 1)
    greedy = made.draw(decoder, features)[1]
    drawn = padded([[ALL[first], ALL[second]] for first, second in pairs * 2])
    rewards = made.rewards_of
    monkeypatch.setattr(made, "draw", lambda *_: (drawn, None if greedy is None else greedy[image]))
    monkeypatch.setattr(made, "rewards_of", lambda *given: p * rewards(*given))  # the loss is linear in the rewards
    batch = replace(batch_of(features), photos=torch.tensor([2, 0])[image])
    sums = made(decoder, Features(pooled=features["pooled"][image]), batch, 0)
    found = gradients(decoder, sums["self_critical"].total)
    samples = {"leave_one_out": 2, "mean": 1, "greedy": 2}[baseline]  # the mean has the sample itself: (N - 1) / N
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], samples * gradient, rtol=1e-5, atol=1e-7)
    assert max(gradient.abs().max() for gradient in expected.values()) > 0.01
