"""The objectives against torch's own, and learning rates over a run."""

import math
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from captioning.cells import RNN
from captioning.core.errors import CaptioningError
from captioning.core.features import Features, FeatureSpec
from captioning.core.packing import Packing
from captioning.core.state import State
from captioning.data.batches import Batch
from captioning.decoders import Decoder, NeuralTalk, Outputs
from captioning.training.objectives import CrossEntropy, word_loss
from captioning.training.schedules import constant, cosine

V, P = 9, 4


class Given(Decoder):
    """Its logits are what it is given."""

    def __init__(self, size: int) -> None:
        super().__init__(size, FeatureSpec(), embedding_size=2, output_size=size)

    def start(self, features: Features) -> State:
        return State()

    def advance(self, tokens: Tensor, state: State) -> tuple[Tensor, State]:
        raise NotImplementedError

    def logits(self, hidden: Tensor) -> Tensor:
        return hidden


def loss_of(logits: Tensor, targets: Tensor, smoothing: float = 0.0, weights: Tensor | None = None) -> Tensor:
    return word_loss(Given(logits.shape[1]), logits, targets, weights, smoothing)[0]


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.5, 1.0])
@pytest.mark.parametrize("weighed", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_values_and_gradients_are_torchs(smoothing: float, weighed: bool, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(13, 7, generator=generator) * 3
    targets = torch.randint(7, (13,), generator=generator)
    weights = torch.randn(13, generator=generator) if weighed else None
    ours, theirs = (logits.clone().requires_grad_() for _ in range(2))
    total, log_likelihood = word_loss(Given(7), ours, targets, weights, smoothing)
    each = F.cross_entropy(theirs, targets, label_smoothing=smoothing, reduction="none")
    expected = (each if weights is None else weights * each).sum()
    torch.testing.assert_close(total, expected)
    total.backward()
    expected.backward()
    torch.testing.assert_close(ours.grad, theirs.grad)
    torch.testing.assert_close(log_likelihood, -F.cross_entropy(logits, targets, reduction="none"))


def test_half_precision_logits_are_summed_in_single() -> None:
    logits = torch.full((4, 5000), 0.1, dtype=torch.bfloat16)
    assert loss_of(logits, torch.zeros(4, dtype=torch.long)).item() / 4 == pytest.approx(math.log(5000), rel=1e-6)


def test_certain_and_wrong_is_large_and_finite() -> None:
    logits, targets = torch.tensor([[1e4, 0.0], [0.0, 1e4]]), torch.tensor([1, 1])
    total, log_likelihood = word_loss(Given(2), logits, targets, label_smoothing=0.1)
    assert log_likelihood.tolist() == [-1e4, 0.0]
    assert total.isfinite()


@pytest.fixture
def decoder() -> Decoder:
    torch.manual_seed(0)
    return NeuralTalk(V, FeatureSpec(pooled=(P,)), RNN, embedding_size=6, hidden_size=6).train()


def batch_of(features: Features) -> Batch:
    """Two photographs, the first with two captions."""
    tokens = torch.tensor([[[1, 5, 6, 2], [1, 7, 2, 0]], [[1, 8, 5, 2], [0, 0, 0, 0]]])
    packing = Packing.of(tokens[..., 1:])
    words, targets = packing.pack(tokens[..., :-1]), packing.pack(tokens[..., 1:])
    return Batch(torch.arange(2), features, None, words, targets, packing)


def test_the_mean_is_over_words_or_over_captions(decoder: Decoder) -> None:
    features = Features(pooled=torch.randn(2, P))
    batch = batch_of(features)
    by_word, by_caption = (CrossEntropy(0.1, per)(decoder, features, batch, 0) for per in ("word", "sequence"))
    assert (by_word["cross_entropy"].count, by_caption["cross_entropy"].count) == (8, 3)
    torch.testing.assert_close(by_word["cross_entropy"].total, by_caption["cross_entropy"].total)
    plain = F.cross_entropy(
        decoder.logits(decoder.teacher_force(features, batch.words, batch.packing).hidden), batch.targets
    )
    torch.testing.assert_close(by_word["nll"].mean, plain.detach())
    assert not by_word["nll"].trained and not by_word["nll"].total.requires_grad


def outputs_seen(decoder: Decoder, monkeypatch: pytest.MonkeyPatch) -> dict[str, list[tuple[Features, float]]]:
    """What the decoder is given, by the way in which it is run."""
    seen: dict[str, list[tuple[Features, float]]] = {"packed": [], "by steps": []}
    packed, by_steps = decoder.teacher_force, decoder.teacher_force_by_steps

    def spy(name: str, run: Callable[..., Outputs]) -> Callable[..., Outputs]:
        def given(features: Features, words: Tensor, packing: Packing, own_words: float = 0.0) -> Outputs:
            seen[name].append((features, own_words))
            return run(features, words, packing, *([own_words] if own_words else []))

        return given

    monkeypatch.setattr(decoder, "teacher_force", spy("packed", packed))
    monkeypatch.setattr(decoder, "teacher_force_by_steps", spy("by steps", by_steps))
    return seen


def test_scheduled_sampling_follows_the_step(decoder: Decoder, monkeypatch: pytest.MonkeyPatch) -> None:
    seen, features = outputs_seen(decoder, monkeypatch), Features(pooled=torch.randn(2, P))
    objective = CrossEntropy(scheduled_sampling=lambda step: step / 10)
    for step in (0, 3, 7):
        objective(decoder, features, batch_of(features), step)
    assert len(seen["packed"]) == 1 and [own for _, own in seen["by steps"]] == [0.3, 0.7]


def test_features_are_dropped_in_training_alone(decoder: Decoder, monkeypatch: pytest.MonkeyPatch) -> None:
    seen, features = outputs_seen(decoder, monkeypatch), Features(pooled=torch.ones(2, P))
    objective = CrossEntropy(feature_dropout=0.5)
    for training in (True, False):
        objective(decoder.train(training), features, batch_of(features), 0)
    (dropped, _), (whole, _) = seen["packed"]
    assert set(dropped["pooled"].unique().tolist()) == {0.0, 2.0} and torch.equal(whole["pooled"], features["pooled"])


@pytest.mark.parametrize("setting", ["label_smoothing", "feature_dropout"])
def test_what_is_no_share_is_refused(setting: str) -> None:
    with pytest.raises(CaptioningError, match=f"objective.{setting}=1.5: take a share"):
        CrossEntropy(**{setting: 1.5})


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
