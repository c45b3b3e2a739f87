"""Show, Attend and Tell: the estimator of hard attention against the exact gradient, the penalties by hand."""

import itertools

import pytest
import torch

from captioning.cells import GRU, LSTM, Cell
from captioning.core.features import Features, FeatureSpec
from captioning.core.packing import Packing
from captioning.core.vocabulary import PAD
from captioning.decoders import Outputs, ShowAttendTell

D, L, V = 4, 3, 9
LENGTHS = torch.tensor([[2, 1]])  # one picture, two captions: 3 words, 27 paths over the regions


def make(cell: type[Cell] = GRU, **settings: object) -> ShowAttendTell:
    torch.manual_seed(0)
    spec = FeatureSpec(pooled=(1,), grid=(1, L, D))
    sizes = {"embedding_size": 5, "hidden_size": 6, "attention_size": 4}
    return ShowAttendTell(V, spec, cell, **sizes, **settings).double()


def batch() -> tuple[Features, torch.Tensor, torch.Tensor, Packing]:
    generator = torch.Generator().manual_seed(3)
    grid = torch.randn(1, L, D, generator=generator, dtype=torch.double)
    tokens = torch.randint(4, V, (1, 2, 2), generator=generator)
    packing = Packing.of(tokens.masked_fill(torch.arange(2) >= LENGTHS.unsqueeze(-1), PAD))
    targets = torch.randint(4, V, (3,), generator=generator)
    return Features(grid=grid), packing.pack(tokens), targets, packing


def log_likelihood(decoder: ShowAttendTell, outputs: Outputs, targets: torch.Tensor) -> torch.Tensor:
    return decoder.logits(outputs.hidden).log_softmax(-1).gather(1, targets.unsqueeze(1)).squeeze(1)


def gradient(loss: torch.Tensor, decoder: ShowAttendTell) -> list[torch.Tensor]:
    parameters = list(decoder.parameters())
    found = torch.autograd.grad(loss, parameters, allow_unused=True, retain_graph=True)
    return [torch.zeros_like(p) if g is None else g for p, g in zip(parameters, found, strict=True)]


@pytest.mark.parametrize("baseline", [0.0, -3.0])
def test_the_mean_of_the_estimator_is_the_exact_gradient(baseline: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Over all paths s of the locations: ``Σ p(s) · estimate(s) = ∇ Σ p(s) · -log p(y | s)``, equation 11."""
    decoder = make(attention="hard", reinforce=1.0, entropy=0.0, expected=0.0).train()
    features, words, targets, packing = batch()
    exact, mean = [], []
    for path in itertools.product(range(L), repeat=3):
        steps = iter(torch.tensor(path).split(list(packing.sizes)))
        monkeypatch.setattr(decoder, "sample", lambda weights, steps=steps: torch.eye(L).double()[next(steps)])
        outputs = decoder.teacher_force(features, words, packing)
        p = (outputs.trace["attention"] * outputs.trace["glimpse"]).sum(-1).prod()
        log_p = log_likelihood(decoder, outputs, targets)
        decoder.baseline.fill_(baseline)
        estimate = -log_p.mean() + sum(loss.mean for loss in decoder.losses(outputs, features, packing, log_p).values())
        exact.append(gradient(-p * log_p.mean(), decoder))
        mean.append([p.detach() * part for part in gradient(estimate, decoder)])
    for ours, expected in zip(zip(*mean, strict=True), zip(*exact, strict=True), strict=True):
        torch.testing.assert_close(sum(ours), sum(expected), atol=1e-6, rtol=1e-5)


def test_samples_follow_the_weights_and_the_expected_location_is_taken_by_half() -> None:
    decoder = make(attention="hard").train()
    weights = torch.tensor([0.2, 0.7, 0.1]).expand(4000, 3)
    torch.testing.assert_close(decoder.sample(weights).mean(0), weights[0], atol=0.03, rtol=0)
    start = decoder.start(Features(grid=torch.zeros(4000, L, D, dtype=torch.double)))
    expected = start.image["expected"]  # (4000, 1)
    assert 0.46 < expected.float().mean() < 0.54
    glimpse = decoder.glimpse(weights, expected)
    assert torch.equal(glimpse[expected[:, 0]], weights[expected[:, 0]])
    assert (glimpse[~expected[:, 0]].max(-1).values == 1).all()


def test_the_expected_location_has_no_reward_to_learn_from() -> None:
    decoder = make(attention="hard", expected=1.0, entropy=0.0).train()
    features, words, targets, packing = batch()
    outputs = decoder.teacher_force(features, words, packing)
    loss = decoder.losses(outputs, features, packing, log_likelihood(decoder, outputs, targets))["reinforce"].mean
    assert all(part.abs().max() < 1e-8 for part in gradient(loss, decoder))


def test_the_baseline_is_a_moving_average_of_captions_in_training_alone() -> None:
    decoder = make(attention="hard").train()
    features, words, _, packing = batch()
    outputs, log_p = decoder.teacher_force(features, words, packing), torch.tensor([-1.0, -2.0, -3.0])
    assert packing.row_captions.tolist() == [0, 1, 0]  # the captions have -4 and -2
    for expected in (-0.3, -0.57):
        decoder.losses(outputs, features, packing, log_p)
        assert decoder.baseline.item() == pytest.approx(expected)
    decoder.eval().losses(outputs, features, packing, log_p)
    assert decoder.baseline.item() == pytest.approx(-0.57)
    assert "baseline" in decoder.state_dict()


def test_the_penalties_by_hand() -> None:
    attention = torch.tensor([[0.5, 0.5, 0.0], [1.0, 0.0, 0.0], [0.5, 0.0, 0.5]])  # words 0 and 2 are of caption 0
    _, _, _, packing = batch()
    trace = {"attention": attention, "glimpse": attention}
    arguments = (Outputs(torch.zeros(3, 5), trace), Features(), packing, torch.zeros(3))
    soft = make(doubly_stochastic=2.0).losses(*arguments)
    # caption 0 saw (1, ½, ½), caption 1 saw (1, 0, 0): ¼ + ¼, and 1 + 1
    assert {name: value.mean.item() for name, value in soft.items()} == {
        "doubly_stochastic": pytest.approx(2 * 2.5 / 3)
    }
    hard = make(attention="hard", entropy=0.1).losses(*arguments)
    assert hard["entropy"].mean.item() == pytest.approx(-0.1 * 2 * torch.tensor(2.0).log().item() / 3)


def test_one_step_is_the_paper() -> None:
    """Equations 4 to 7 and the gate, written out for one picture and one word."""
    decoder = make(LSTM).eval()
    grid = torch.randn(1, L, D).double()
    state = decoder.start(Features(grid=grid))
    h, c = (perceptron(grid[0].mean(0)) for perceptron in decoder.initial)
    torch.testing.assert_close(state.sequence["hidden"].squeeze(), torch.cat([h, c]))
    attention, y = decoder.attention, torch.tensor([[5]])
    e = [attention.score(torch.tanh(attention.key(a) + attention.query(h))) for a in grid[0]]
    alpha = torch.cat(e).softmax(0)
    z = torch.sigmoid(decoder.gate(h)) * sum(weight * a for weight, a in zip(alpha, grid[0], strict=True))
    cell = decoder.recurrent.layer(0)
    x = decoder.embedding.weight[5]
    h = cell(cell.Wxh(x) + cell.Wih(z), torch.cat([h, c]))[: len(h)]
    logits, state = decoder.step(y, state)
    expected = decoder.word_layer(x + decoder.Lh(h) + decoder.Lz(z))
    torch.testing.assert_close(logits[0, 0], expected)
    torch.testing.assert_close(state.sequence["attention"][0, 0], alpha)


def test_keys_are_projected_once_for_a_photograph_and_all_of_its_captions() -> None:
    decoder = make()
    sizes: list[torch.Size] = []
    decoder.attention.key.register_forward_hook(lambda _, inputs, __: sizes.append(inputs[0].shape))
    features, words, _, packing = batch()
    decoder.teacher_force(features, words, packing)
    decoder.teacher_force_by_steps(features, words, packing)
    assert sizes == [torch.Size([1, L, D])] * 2
