"""What is true of every model of answers: alone as in a batch, fast as plain, a gradient for all that is trained."""

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest
import torch

from captioning import cells
from captioning.answerers import (
    BOW,
    KNN,
    AnswerModel,
    Average,
    Guess,
    Img,
    ImgBOW,
    ImgPrior,
    LSTMAnswerer,
    StackedAttention,
    Training,
    TwoVisBLSTM,
    VisLSTM,
)
from captioning.answerers.stacked_attention import GatedSum, places_of
from captioning.cells.sequences import last_hidden
from captioning.core.errors import CaptioningError
from captioning.core.features import Features, FeatureSpec
from captioning.core.questions import KINDS, Questions
from captioning.speed import make_fast

V, A, P, D = 9, 5, 4, 3
SPEC = FeatureSpec(pooled=(P,), grid=(2, 3, D))
SMALL: dict[str, Any] = {"embedding_size": 6}
RECURRENT: dict[str, Any] = {**SMALL, "cell": cells.LSTM, "hidden_size": 7}
MODELS: dict[str, Callable[[], AnswerModel]] = {
    "guess": lambda: Guess(V, A, SPEC),
    "bow": lambda: BOW(V, A, SPEC, **SMALL),
    "lstm": lambda: LSTMAnswerer(V, A, SPEC, **RECURRENT, depth=2),
    "gru": lambda: LSTMAnswerer(V, A, SPEC, **{**RECURRENT, "cell": cells.GRU}),
    "both_ways": lambda: LSTMAnswerer(V, A, SPEC, **RECURRENT, bidirectional=True, depth=2),
    "mean": lambda: LSTMAnswerer(V, A, SPEC, **RECURRENT, summary="mean", bidirectional=True),
    "max": lambda: LSTMAnswerer(V, A, SPEC, **{**RECURRENT, "cell": cells.GRU}, summary="max"),
    "attention": lambda: LSTMAnswerer(V, A, SPEC, **RECURRENT, summary="attention", attention_size=4),
    "rnn_vis": lambda: VisLSTM(V, A, SPEC, **{**RECURRENT, "cell": cells.RNN}),
    "img": lambda: Img(V, A, SPEC),
    "img_prior": lambda: ImgPrior(V, A, SPEC),
    "img_bow": lambda: ImgBOW(V, A, SPEC, **SMALL),
    "knn": lambda: KNN(V, A, SPEC, **SMALL, neighbours=3),
    "vis_lstm": lambda: VisLSTM(V, A, SPEC, **RECURRENT),
    "two_vis_blstm": lambda: TwoVisBLSTM(V, A, SPEC, **RECURRENT),
    "one_look": lambda: StackedAttention(V, A, SPEC, **RECURRENT, attention_size=4, looks=1),
    "two_looks": lambda: StackedAttention(V, A, SPEC, **RECURRENT, attention_size=4),
    "two_looks_and_a_bag": lambda: StackedAttention(V, A, SPEC, **RECURRENT, attention_size=4, bag=True),
    "a_look_and_a_sum": lambda: StackedAttention(V, A, SPEC, **RECURRENT, attention_size=4, looks=1, counts=True),
    "two_looks_at_places": lambda: StackedAttention(V, A, SPEC, **RECURRENT, attention_size=4, places=True),
    "average": lambda: Average([ImgBOW(V, A, SPEC, **SMALL), VisLSTM(V, A, SPEC, **RECURRENT)]),
}
ASKED = Questions.of([[4, 5, 6], [7], [3, 8, 4, 4, 5], [5, 6]], [0, 1, 2, 3])


def features(seed: int = 0, images: int = 4) -> Features:
    draw = torch.Generator().manual_seed(seed)
    return Features(pooled=torch.randn(images, P, generator=draw), grid=torch.randn(images, 6, D, generator=draw))


def training() -> Training:
    """Eight questions about four photographs; the last one's answer is not learned."""
    every = [*ASKED.words.tolist(), *ASKED.words.flip(0).tolist()]
    questions = [[word for word in words if word] for words in every]
    kinds = torch.cat([ASKED.kinds, ASKED.kinds.flip(0)])
    stored = features(1)
    return Training(
        questions,
        kinds,
        torch.tensor([0, 1, 2, 3, 4, 0, 1, -1]),
        torch.tensor([0, 1, 2, 3, 0, 1, 2, 3]),
        ["<pad>", "<start>", "<end>", "<unk>", "many", "the", "dog", "cat", "red"],
        lambda places: stored.select(torch.tensor(list(places))),
    )


@pytest.fixture(params=MODELS)
def model(request: pytest.FixtureRequest) -> AnswerModel:
    torch.manual_seed(0)
    made = MODELS[request.param]()
    made.begin(training())
    return made.eval()


def test_a_question_alone_is_answered_as_in_a_batch(model: AnswerModel) -> None:
    """With other questions beside it, longer ones and shorter ones, and with padding."""
    seen = features()
    together = model(seen, ASKED)
    assert together.logits.shape == (4, A)
    for place in range(4):
        words = ASKED.words[place]
        alone = Questions.of([[word for word in words.tolist() if word]], ASKED.kinds[place : place + 1].tolist())
        found = model(seen.select(torch.tensor([place])), alone)
        torch.testing.assert_close(found.logits[0], together.logits[place])
        if together.attention is not None:
            there = found.attention.shape[-1]  # of words there may be fewer
            torch.testing.assert_close(found.attention[0], together.attention[place, :, :there])
            assert together.attention[place, :, there:].abs().sum() == 0


def test_the_fast_model_answers_as_the_plain_one_and_learns_the_same(model: AnswerModel) -> None:
    fast = make_fast(deepcopy(model))
    for each in (model, fast):
        each.train()
        for part in each.modules():
            if isinstance(part, torch.nn.Dropout):
                part.p = 0.0
    results = [each(features(), ASKED).logits for each in (model, fast)]
    torch.testing.assert_close(*results)
    for each in results:
        (each * torch.linspace(1, 2, A)).exp().sum().backward()
    for (name, plain), (same, quick) in zip(model.named_parameters(), fast.named_parameters(), strict=True):
        assert name == same
        torch.testing.assert_close(plain.grad, quick.grad)
        assert plain.grad is not None and (name == "unused" or plain.grad.abs().sum() > 0), name


def test_only_models_that_read_photographs_depend_on_them(model: AnswerModel) -> None:
    changed = (model(features(), ASKED).logits != model(features(7), ASKED).logits).any().item()
    trained = any(parameter.abs().sum() > 0 for parameter in model.parameters())
    assert changed == (bool(model.reads) and trained)


def test_a_checkpoint_s_weights_are_enough(model: AnswerModel) -> None:
    if isinstance(model, (Average, KNN)):
        return
    other = deepcopy(model)
    for parameter in other.parameters():
        torch.nn.init.ones_(parameter)
    other.load_state_dict(model.state_dict())
    torch.testing.assert_close(other(features(), ASKED).logits, model(features(), ASKED).logits)


def test_guess_is_the_most_frequent_answer_of_the_kind() -> None:
    model = MODELS["guess"]()
    model.begin(training())
    found = model(features(), Questions.of([[4]] * 3, [KINDS.index(kind) for kind in ("object", "number", "other")]))
    frequent = [{0}, {1}, set(range(A))]  # object: 0 and a lost one; number: 1 twice; other: nothing is known
    for logits, best in zip(found.logits, frequent, strict=True):
        assert set((logits == logits.max()).nonzero().flatten().tolist()) == best


def test_the_prior_is_that_of_the_noun() -> None:
    """P(w|a) by hand: (n(w, a) / n(a) + δ) / (N δ + 1)."""
    model = ImgPrior(V, A, SPEC)
    many, the, dog, cat, red = 4, 5, 6, 7, 8
    asked = [[many, dog], [many, cat], [the, red], [3, the, cat]]
    kinds = [KINDS.index(kind) for kind in ("number", "number", "colour", "location")]
    given = Training(asked, torch.tensor(kinds), torch.tensor([0, 0, 1, 2]), torch.zeros(4), training().words, None)
    model.begin(given)
    questions = Questions.of(asked, kinds)
    assert model.nouns(questions).tolist() == [dog, cat, red, cat]
    prior = model.eval().log_prior(questions).exp()
    assert prior[0, 0].item() == pytest.approx((1 / 2 + 1e-6) / (V * 1e-6 + 1))
    assert prior[2, 0].item() == pytest.approx(5e-4 / (V * 5e-4 + 1))
    assert prior[3, 2].item() == pytest.approx((1 + 1) / (V + 1))
    assert model.nouns(Questions.of([[3, dog]], [0])).tolist() == [-1]  # an object has no noun
    # the classifier is zero, so that the answers are the prior's alone: a cat goes with 2 always, with 0 half the time
    torch.testing.assert_close(model(features(), questions).logits.argmax(-1), torch.tensor([0, 2, 1, 2]))


def test_the_nearest_question_answers() -> None:
    torch.manual_seed(0)
    model = KNN(V, A, SPEC, embedding_size=6, neighbours=1)
    given = training()
    model.begin(given)
    model.eval()
    stored = features(1).to(dtype=torch.half).to(dtype=torch.float)
    for place in range(7):
        photo = stored.select(given.photos[place : place + 1])
        found = model(photo, Questions.of([given.questions[place]], [int(given.kinds[place])]))
        assert found.logits.argmax() == given.answers[place]
    assert model.memory == (4, 7, 5)
    model.neighbours = 7
    votes = model(features(), ASKED).logits.exp().floor()
    assert votes.sum(-1).tolist() == [7.0] * 4  # everyone votes
    with pytest.raises(CaptioningError, match="frozen encoder"):
        model.begin(Training([], torch.tensor([]), torch.tensor([]), torch.tensor([]), [], None))


def test_two_directions_are_one_network_each() -> None:
    """By hand: the last states of each direction over (W1 v, words, W2 v)."""
    torch.manual_seed(0)
    model = TwoVisBLSTM(V, A, SPEC, **RECURRENT).eval()
    seen, words = features(images=1), [4, 5, 6]
    v = seen["pooled"]
    x = torch.cat([model.image_word(v), model.embedding(torch.tensor(words)), model.last_image_word(v)]).unsqueeze(0)
    lengths = torch.tensor([5])
    ahead = last_hidden(model.recurrent, x, lengths)
    back = last_hidden(model.backward_recurrent, x.flip(1), lengths)
    expected = model.classifier(torch.cat([ahead, back], -1))
    torch.testing.assert_close(model(seen, Questions.of([words], [0])).logits, expected)


@pytest.mark.parametrize("summary", ["last", "mean", "max", "attention"])
def test_both_directions_and_each_summary_are_torch_s(summary: str) -> None:
    """The states of ``nn.LSTM(bidirectional=True)`` with the same weights, and the summary by hand."""
    torch.manual_seed(0)
    model = LSTMAnswerer(V, A, SPEC, **RECURRENT, bidirectional=True, summary=summary, attention_size=4).eval()
    theirs = torch.nn.LSTM(6, 7, bidirectional=True, batch_first=True)
    assert model.backward_recurrent is not None
    for layers, way in ((model.recurrent, ""), (model.backward_recurrent, "_reverse")):
        cell = layers.layer(0)
        for name, value in (("weight_ih", cell.Wxh.weight), ("weight_hh", cell.Whh.weight)):
            getattr(theirs, f"{name}_l0{way}").data.copy_(value.data)
        for name, value in (("bias_ih", cell.Wxh.bias), ("bias_hh", cell.Whh.bias)):
            getattr(theirs, f"{name}_l0{way}").data.copy_(value.data)
    words = torch.tensor([[3, 8, 4, 5]])
    states, (last, _) = theirs(model.embedding(words))
    u = torch.cat([last[0], last[1]], -1)
    if summary in ("mean", "max"):
        u = states.mean(1) if summary == "mean" else states.amax(1)
    found = model(Features.none(2), Questions.of([words[0].tolist(), [4]], [0, 0]))
    if summary == "attention":
        assert model.attention is not None and found.attention is not None
        alpha = model.attention(states).squeeze(-1).softmax(-1)
        torch.testing.assert_close(found.attention[0], alpha)
        u = (alpha.unsqueeze(-1) * states).sum(1)
    torch.testing.assert_close(found.logits[:1], model.classifier(u))


def test_training_loses_some_words_and_never_padding() -> None:
    model = LSTMAnswerer(V, A, SPEC, **RECURRENT, word_dropout=0.25)
    words = torch.tensor([[4, 5, 0, 0]]).repeat(4000, 1)
    torch.manual_seed(0)
    kept = model.train()._kept(words)
    assert (kept[:, 2:] == 0).all() and set(kept[:, :2].unique().tolist()) == {3, 4, 5}  # 3 is <unk>
    assert (kept == 3).float().sum().item() / 8000 == pytest.approx(0.25, abs=0.02)
    assert model.eval()._kept(words) is words


def test_attention_is_asked_by_the_question_and_leaves_missing_regions_out() -> None:
    torch.manual_seed(0)
    model = StackedAttention(V, A, SPEC, **RECURRENT, attention_size=4, looks=3).eval()
    varying = Features({"grid": torch.tensor([6, 2, 6, 1])}, grid=features()["grid"])
    weights = model(varying, ASKED).attention
    assert weights is not None and weights.shape == (4, 3, 6)
    torch.testing.assert_close(weights.sum(-1), torch.ones(4, 3))
    assert weights[1, :, 2:].abs().sum() == 0 and (weights[3, :, 0] == 1).all()
    one = features().select(torch.zeros(4, dtype=torch.long))
    asked = model(one, ASKED).attention
    assert asked is not None and not torch.allclose(asked[0, 0], asked[1, 0])  # one photograph, two questions


def test_a_sum_grows_with_the_number_of_regions_where_a_look_averages() -> None:
    """Twice the same regions: the looks' answers stay, and the sum c doubles; missing regions add nothing."""
    torch.manual_seed(0)
    regions, query = torch.randn(4, 6, 7), torch.randn(4, 7)
    sums = GatedSum(7).eval()
    gates = torch.sigmoid((regions * sums.query(query)[:, None]).sum(-1, keepdim=True) / 4 - 3)
    once = (gates * regions).sum(1)
    torch.testing.assert_close(sums(regions, query), sums.out(once))
    torch.testing.assert_close(sums(torch.cat([regions, regions], 1), query), sums.out(2 * once))
    there = torch.arange(12).expand(4, -1) < 6
    torch.testing.assert_close(sums(torch.cat([regions, regions + 1], 1), query, there), sums.out(once))
    for counts in (False, True):
        torch.manual_seed(0)
        model = StackedAttention(V, A, SPEC, **RECURRENT, attention_size=4, counts=counts).eval()
        grid = features()["grid"]
        more = model(Features(grid=torch.cat([grid, grid], 1)), ASKED).logits
        assert torch.allclose(more, model(features(), ASKED).logits, atol=1e-5) == (not counts)


def test_a_region_knows_its_row_and_its_column() -> None:
    assert places_of(2, 3).tolist() == [[-1, -1], [-1, 0], [-1, 1], [1, -1], [1, 0], [1, 1]]
    torch.manual_seed(0)
    model = StackedAttention(V, A, SPEC, **RECURRENT, attention_size=4, places=True).eval()
    there = model(Features(grid=features()["grid"].flip(1)), ASKED).logits
    assert not torch.allclose(there, model(features(), ASKED).logits)
    with pytest.raises(CaptioningError, match="the regions of objects have no rows and columns"):
        StackedAttention(V, A, FeatureSpec(objects=(6, D)), **RECURRENT, attends="objects", places=True)


def test_the_average_is_of_probabilities() -> None:
    torch.manual_seed(0)
    members = [ImgBOW(V, A, SPEC, **SMALL), VisLSTM(V, A, SPEC, **RECURRENT), BOW(V, A, SPEC, **SMALL)]
    each = torch.stack([member(features(), ASKED).logits.softmax(-1) for member in members])
    torch.testing.assert_close(Average(members)(features(), ASKED).logits.exp(), each.mean(0))
    logs = Average(members, logarithms=True)(features(), ASKED).logits
    torch.testing.assert_close(logs, each.log().mean(0))


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: BOW(V, A, SPEC, dropout=1.0), "answerer.dropout=1"),
        (lambda: LSTMAnswerer(V, A, SPEC, cells.LSTM, depth=0), "answerer.depth=0"),
        (
            lambda: LSTMAnswerer(V, A, SPEC, cells.LSTM, summary="first"),
            "answerer.summary=first: take one of last, mean",
        ),
        (lambda: LSTMAnswerer(V, A, SPEC, cells.LSTM, word_dropout=1.0), "answerer.word_dropout=1"),
        (lambda: StackedAttention(V, A, SPEC, cells.LSTM, looks=0), "answerer.looks=0"),
        (lambda: KNN(V, A, SPEC, neighbours=0), "answerer.neighbours=0"),
    ],
)
def test_settings_out_of_range(make: Callable[[], object], said: str) -> None:
    with pytest.raises(CaptioningError, match=said):
        make()


def test_it_learns_and_answers_without_double_precision(model: AnswerModel, no_doubles: type[Any]) -> None:
    with no_doubles():
        if not isinstance(model, Average):  # whose members have begun
            model.begin(training())
        logits = model.train()(features(), ASKED).logits
        torch.nn.functional.cross_entropy(logits, torch.tensor([0, 1, -1, 2]), ignore_index=-1).backward()
        model.eval()(features(), ASKED)
