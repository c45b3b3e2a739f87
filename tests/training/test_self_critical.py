"""Self-critical training against the exact gradient of the expected reward, and what its settings do."""

from dataclasses import replace
from itertools import product
from typing import Any

import pytest
import torch
from torch import Tensor

from captioning.cells import GRU, LSTM
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


def test_these_are_all_captions(decoder: Decoder, features: Features) -> None:
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


@pytest.mark.parametrize(
    ("baseline", "expected"),
    [("leave_one_out", [[-2.5, -1.0, 3.5]]), ("mean", [[-5 / 3, -2 / 3, 7 / 3]]), ("greedy", [[-1.0, 0.0, 3.0]])],
)
def test_a_caption_is_compared_with_the_others_with_all_or_with_the_greedy_one(
    baseline: str, expected: list[list[float]]
) -> None:
    compared = torch.tensor([[2.0]]) if baseline == "greedy" else None
    found = advantages(torch.tensor([[1.0, 2.0, 5.0]]), baseline, compared)
    torch.testing.assert_close(found, torch.tensor(expected))


def test_sums_are_over_words_or_over_captions(
    decoder: Decoder, features: Features, monkeypatch: pytest.MonkeyPatch
) -> None:
    """END is a word of the loss; a cut caption has none."""
    drawn = padded([[(4, 5, END), (END,)], [(6, 4, 4), (5, END)]])
    found = {}
    for per in ("word", "sequence"):
        made = objective(samples=2, per=per)
        monkeypatch.setattr(made, "draw", lambda *_: (drawn, None))
        found[per] = made(decoder, features, batch_of(features), 0)
    assert (found["word"]["self_critical"].count, found["sequence"]["self_critical"].count) == (9, 4)
    torch.testing.assert_close(found["word"]["self_critical"].total, found["sequence"]["self_critical"].total)
    reward = found["word"]["reward"]
    assert reward.count == 4 and not reward.trained and not reward.total.requires_grad
    expected = CiderReward(REFERENCES)(["a dog", "", "runs a a", "dog"], [2, 2, 0, 0], [True, True, False, True])
    assert reward.total.item() == pytest.approx(expected.sum(), rel=1e-6)


def test_the_weighted_cross_entropy_is_added(decoder: Decoder, features: Features) -> None:
    batch = batch_of(features)
    made = objective(cross_entropy=0.3, label_smoothing=0.1)
    sums, plain = made(decoder, features, batch, 0), CrossEntropy(0.1)(decoder, features, batch, 0)
    torch.testing.assert_close(sums["cross_entropy"].total, 0.3 * plain["cross_entropy"].total)
    assert sums["cross_entropy"].count == plain["cross_entropy"].count == len(batch.targets)
    torch.testing.assert_close(sums["nll"].total, plain["nll"].total)
    assert sums["nll"].trained is False
    assert objective()(decoder, features, batch, 0).keys() == {"self_critical", "reward"}


@pytest.fixture
def dropping() -> Decoder:
    """A decoder that drops nearly all of its words and outputs in training."""
    torch.manual_seed(0)
    spec, sizes = FeatureSpec(grid=(1, 2, P)), {"embedding_size": 6, "hidden_size": 6, "attention_size": 4}
    return ShowAttendTell(len(VOCABULARY), spec, LSTM, embedding_dropout=0.9, output_dropout=0.9, **sizes).train()


@pytest.mark.parametrize("dropout", [False, True])
def test_captions_are_drawn_without_dropout_and_read_with_it_where_that_is_asked_for(
    dropout: bool, dropping: Decoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cross-entropy has its dropout in any case, and every part of the decoder keeps its mode."""
    features, seen = Features(grid=torch.randn(2, 2, P)), []
    parts, step, read = list(dropping.modules()), dropping.step, dropping.teacher_force

    def stepping(tokens: Tensor, state: Any) -> Any:
        seen.append(("step", any(part.training for part in parts), torch.is_grad_enabled(), False))
        return step(tokens, state)

    def reading(given: Features, words: Tensor, packing: Packing) -> Any:
        dropped = not torch.equal(given["grid"], features["grid"])
        seen.append(("read", any(part.training for part in parts), torch.is_grad_enabled(), dropped))
        return read(given, words, packing)

    monkeypatch.setattr(dropping, "step", stepping)
    monkeypatch.setattr(dropping, "teacher_force", reading)
    dropping.attention.eval()  # as a part that somebody keeps so
    kept = [part.training for part in parts]
    made = objective(feature_dropout=0.5, cross_entropy=0.1, dropout=dropout)
    sums = made(dropping, features, batch_of(features), 0)
    assert [part.training for part in parts] == kept and len(set(kept)) == 2
    *drawn, samples, captions = seen
    assert len(drawn) >= LENGTH - 1 and set(drawn) == {("step", False, False, False)}
    assert samples == ("read", dropout, True, dropout)
    assert captions == ("read", True, True, True)
    # the decoder's own loss is that of the samples
    assert sums.keys() == {"self_critical", "reward", "doubly_stochastic", "cross_entropy", "nll"}
    assert all(sums[name].total.requires_grad == sums[name].trained for name in sums)


def test_training_mode_comes_back_after_an_error(dropping: Decoder, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*_: Any) -> None:
        raise RuntimeError("no")

    monkeypatch.setattr(dropping, "step", failing)
    features = Features(grid=torch.randn(2, 2, P))
    with pytest.raises(RuntimeError):
        objective()(dropping, features, batch_of(features), 0)
    assert all(part.training for part in dropping.modules())


def test_gradients_in_half_precision_are_those_of_single(
    decoder: Decoder, features: Features, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sampling without gradients leaves no weights without gradients behind in autocast's cache."""
    decoder, features = decoder.float(), features.to(dtype=torch.float)
    made, found = objective(samples=3), []
    drawn = padded([[(4, 5, END), (6, END), (4, 5, 6)], [(6, 4, 4), (5, END), (END,)]])
    draw = made.draw
    monkeypatch.setattr(made, "draw", lambda *given: (draw(*given), (drawn, None))[1])
    for half in (False, True):
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            total = made(decoder, features, batch_of(features), 0)["self_critical"].total
        found.append(gradients(decoder, total))
    for name, gradient in found[0].items():
        torch.testing.assert_close(found[1][name], gradient, rtol=0.05, atol=0.05 * float(gradient.abs().max()))
    assert all(gradient.abs().max() > 0 for gradient in found[0].values())


def test_the_expected_reward_rises(decoder: Decoder, features: Features) -> None:
    """Measured exactly, over all captions."""
    torch.manual_seed(0)
    made, batch = objective(samples=10), batch_of(features)
    optimizer = torch.optim.Adam(decoder.parameters(), 0.02)
    rewards = rewards_of_all(made)

    def expected() -> float:
        with torch.no_grad():
            return float((log_probabilities(decoder, features).exp() * rewards).sum(1).mean())

    before = expected()
    for step in range(60):
        optimizer.zero_grad()
        made(decoder, features, batch, step)["self_critical"].mean.backward()
        optimizer.step()
    assert before < 0.2 * rewards.max(1).values.mean()
    assert expected() > 0.8 * rewards.max(1).values.mean()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"samples": 1}, "objective.samples=1: baseline=leave_one_out needs 2 or more"),
        ({"samples": 1, "baseline": "mean"}, "objective.samples=1: baseline=mean needs 2 or more"),
        ({"samples": 0, "baseline": "greedy"}, "objective.samples=0: baseline=greedy needs 1 or more"),
        ({"bleu": -1.0}, "objective.bleu=-1.0: a weight is 0 or more"),
        ({"cross_entropy": -0.5}, "objective.cross_entropy=-0.5"),
        ({"cider": 0.0}, "nothing is rewarded"),
        ({"temperature": 0.0}, "objective.temperature=0.0"),
        ({"max_length": 0}, "objective.max_length=0"),
        ({"label_smoothing": 1.5}, "objective.label_smoothing=1.5"),
        ({"feature_dropout": -0.1}, "objective.feature_dropout=-0.1"),
    ],
)
def test_what_makes_no_sense_is_a_sentence(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(CaptioningError, match=said):
        objective(**settings)


def test_a_text_has_nothing_to_reward() -> None:
    with pytest.raises(CaptioningError, match="Take objective=cross_entropy"):
        SelfCritical().begin(CharacterVocabulary(["a", "b"]), [])


@pytest.mark.parametrize(
    ("settings", "signature"),
    [
        ({}, "STANDARD_wInit+Cider-D[n4,s6.0]+average[nspi5]+1.0.0"),
        ({"end_is_a_word": False}, "NO<EOS>_wInit+Cider-D[n4,s6.0]+average[nspi5]+1.0.0"),
        ({"samples": 1, "baseline": "greedy"}, "STANDARD_wInit+Cider-D[n4,s6.0]+greedy[nspi1]+1.0.0"),
    ],
)
def test_the_signature_is_sacreeos_s(settings: dict[str, Any], signature: str) -> None:
    assert objective(**settings).signature == signature
    assert SelfCritical(**settings).signature == ""


@pytest.mark.parametrize("baseline", ["leave_one_out", "greedy"])
def test_it_trains_without_double_precision(
    baseline: str, decoder: Decoder, features: Features, no_doubles: type[Any]
) -> None:
    decoder, features = decoder.float(), features.to(dtype=torch.float)
    with no_doubles():
        made = objective(baseline=baseline, bleu=0.5, cross_entropy=0.1, label_smoothing=0.1, feature_dropout=0.1)
        sums = made(decoder, features, batch_of(features), 0)
        torch.stack([each.mean for each in sums.values() if each.trained]).sum().backward()
