"""Beam search against brute force, and against its definition written out for one photograph in plain Python."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from captioning.cells import LSTM
from captioning.core.errors import CaptioningError
from captioning.core.features import Features, FeatureSpec
from captioning.core.vocabulary import END, PAD, START, UNK
from captioning.decoders import NeuralTalk
from captioning.search import Beam, Greedy


def spoken(row):
    return tuple(token for token in row.tolist() if token != PAD)


def brute_force(decoder, image, words, max_length, penalty):
    """All captions that end within ``max_length``, best first."""
    said = range(UNK + 1, UNK + words)
    captions = [(*start, END) for length in range(max_length) for start in itertools.product(said, repeat=length)]
    ranked = [(decoder.score(image, caption) / len(caption) ** penalty, caption) for caption in captions]
    return sorted(ranked, reverse=True)


def reference(decoder, image, search):
    """The definition: one photograph, lists, full sorts, no early stop, float32 sums."""
    live, ended = [(np.float32(0), ())], []
    for length in range(1, search.max_length + 1):
        extensions = []
        for score, words in live:
            number, previous = image, START
            for token in (*words, None):
                number = decoder.hash(number, previous, image)
                previous = token
            for token, log_prob in enumerate(decoder.log_probs[number].numpy()):
                if token in (PAD, START, UNK) or repeats((*words, token), search.block_ngrams):
                    continue
                extensions.append((score + log_prob, (*words, token)))
        extensions = sorted(extensions, key=lambda e: -e[0])[: search.size]  # stable: ties keep their order
        ended += [
            (score / np.float32(length**search.length_penalty), words)
            for score, words in extensions
            if words[-1] == END
        ]
        live = [extension for extension in extensions if extension[1][-1] != END]
    cut = [(score / np.float32(search.max_length**search.length_penalty), words) for score, words in live]
    return (sorted(ended, key=lambda e: -e[0]) + cut)[: search.n_best]


def repeats(words, n):
    ngrams = [words[i : i + n] for i in range(len(words) - n + 1)] if n else []
    return len(set(ngrams)) < len(ngrams)


@pytest.mark.parametrize("penalty", [0.0, 0.7, 1.0])
def test_wide_beam_is_brute_force(toy, penalty):
    words, max_length, n_best = 4, 5, 6
    decoder = toy(words, seed=1)
    found = Beam(size=words**max_length, max_length=max_length, length_penalty=penalty, n_best=n_best)(
        decoder, toy.photographs(3, 4, 5)
    )
    for b, image in enumerate((3, 4, 5)):
        best = brute_force(decoder, image, words, max_length, penalty)[:n_best]
        assert [spoken(row) for row in found.tokens[b]] == [caption for _, caption in best]
        assert found.scores[b].tolist() == pytest.approx([score for score, _ in best], abs=1e-5)


@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    words=st.integers(2, 9),
    levels=st.sampled_from([0, 0, 2, 3]),
    end_bias=st.sampled_from([-20.0, -2.0, 0.0, 2.0]),
    images=st.lists(st.integers(0, 900), min_size=1, max_size=7),
    size=st.integers(1, 6),
    max_length=st.integers(1, 9),
    penalty=st.sampled_from([0.0, 0.7, 1.0, 2.0]),
    block=st.integers(0, 3),
    data=st.data(),
)
def test_whole_batch_is_the_definition_for_each(
    toy, seed, words, levels, end_bias, images, size, max_length, penalty, block, data
):
    decoder = toy(words, seed, levels, end_bias)
    search = Beam(size, max_length, penalty, block, n_best=data.draw(st.integers(1, size)))
    found = search(decoder, toy.photographs(*images), attention=True)
    assert found.tokens.shape == found.attention.shape[:3]
    for b, image in enumerate(images):
        expected = reference(decoder, image, search)
        missing = search.n_best - len(expected)
        assert [spoken(row) for row in found.tokens[b]] == [caption for _, caption in expected] + [()] * missing
        assert found.scores[b].tolist() == pytest.approx([s for s, _ in expected] + [-np.inf] * missing, rel=1e-6)
        for n, (_, caption) in enumerate(expected):  # the weights under which this very caption was said
            assert found.attention[b, n, : len(caption)].tolist() == decoder.walk(image, caption)[1]
            assert not found.attention[b, n, len(caption) :].any()
            assert not found.tokens[b, n, len(caption) :].any()


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 10**6), penalty=st.sampled_from([0.0, 1.0]), bias=st.sampled_from([-2.0, 0.0]))
def test_one_beam_is_greedy(toy, seed, penalty, bias):
    decoder, photographs = toy(12, seed, end_bias=bias), toy.photographs(*range(8))
    greedy, beam = Greedy(9)(decoder, photographs, True), Beam(1, 9, penalty)(decoder, photographs, True)
    assert torch.equal(greedy.tokens, beam.tokens)
    assert torch.equal(greedy.attention, beam.attention)


@pytest.mark.parametrize("search", [Greedy(6), Beam(4, 6, n_best=3), Beam(4, 6, block_ngrams=1)])
def test_always_a_caption(toy, search):
    """Also from a decoder that never says END: cut at max_length."""
    found = search(toy(9, end_bias=-1e9), toy.photographs(1, 2))
    assert found.tokens.shape[-1] == 6
    assert (found.tokens > UNK).all()
    assert found.scores.isfinite().all()


def test_captions_that_ended_come_before_the_cut_ones(toy):
    found = Beam(5, 4, n_best=5)(toy(9, end_bias=-1.0), toy.photographs(*range(20)))
    has_end = (found.tokens == END).any(-1).int()
    assert (has_end.diff(dim=1) <= 0).all()
    assert 0 < has_end.float().mean() < 1


def test_stops_when_no_beam_can_win_and_finished_photographs_leave(toy):
    decoder = toy(9, end_bias=12.0)
    found = Beam(5, 50)(decoder, toy.photographs(*range(16)))
    assert found.tokens.shape[-1] < 5
    decoder = toy(9, end_bias=2.0)
    Beam(5, 50)(decoder, toy.photographs(*range(64)))
    together = decoder.rows_computed
    decoder.rows_computed = 0
    for image in range(64):
        Beam(5, 50)(decoder, toy.photographs(image))
    assert together < 2 * decoder.rows_computed  # less than half of the photographs in a step are finished ones


def test_no_photographs(toy):
    found = Beam()(toy(5), Features(pooled=torch.zeros(0, 1)))
    assert len(found.tokens) == len(found.scores) == 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_scores_are_the_teacher_forced_likelihood(dtype):
    """A real decoder: the captions' words, fed back by ``forward``, have the probability that the search reports."""
    torch.manual_seed(0)
    decoder = (
        NeuralTalk(300, FeatureSpec(pooled=(16,), grid=(1, 1, 16)), LSTM, embedding_size=32, hidden_size=32)
        .eval()
        .to(dtype)
    )
    with torch.no_grad():
        decoder.word_layer.weight.mul_(8)
        decoder.word_layer.bias[END] = 2.0
    features = Features(pooled=torch.randn(6, 16).to(dtype))
    found = Beam(4, 12, n_best=4)(decoder, features)
    with torch.no_grad():
        begun = torch.cat([torch.full_like(found.tokens[..., :1], START), found.tokens[..., :-1]], -1)
        begun = begun.masked_fill(found.tokens == PAD, PAD)
        log_probs = decoder(features, begun).log_softmax(-1, dtype=torch.float32)
    said = log_probs.gather(-1, found.tokens.unsqueeze(-1)).squeeze(-1)
    expected = said.masked_fill(found.tokens == PAD, 0).sum(-1)
    assert (found.tokens == END).any()
    torch.testing.assert_close(found.scores, expected, atol=1e-4 if dtype == torch.float32 else 0.3, rtol=1e-4)
    if dtype == torch.float32:
        for b in range(6):
            alone = Beam(4, 12, n_best=4)(decoder, features.select(torch.tensor([b])))
            T = alone.tokens.shape[-1]
            assert torch.equal(alone.tokens[0], found.tokens[b, :, :T])
            assert not found.tokens[b, :, T:].any()


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"size": 0}, "search.size"),
        ({"n_best": 6}, "search.n_best"),
        ({"max_length": 0}, "search.max_length"),
        ({"length_penalty": -1.0}, "search.length_penalty"),
        ({"length_penalty": 1e30}, "search.length_penalty"),
        ({"block_ngrams": -1}, "search.block_ngrams"),
    ],
)
def test_wrong_settings(wrong, named):
    with pytest.raises(CaptioningError, match=named):
        Beam(**wrong)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    words=st.integers(2, 5),
    levels=st.sampled_from([0, 1, 2]),
    size=st.integers(2, 12),
    max_length=st.integers(1, 5),
    block=st.integers(0, 2),
)
def test_no_caption_occurs_twice(toy, seed, words, levels, size, max_length, block):
    """Neither among those that ended, nor one that was cut beside one that ended; there may be fewer than N."""
    found = Beam(size, max_length, 0.7, block, n_best=size)(toy(words, seed, levels), toy.photographs(*range(6)), True)
    for rows, scores in zip(found.tokens, found.scores, strict=True):
        texts = [tuple(token for token in row.tolist() if token not in (PAD, END)) for row in rows]
        there = [text for text, score in zip(texts, scores.tolist(), strict=True) if score > -np.inf]
        assert len(set(there)) == len(there) > 0


def test_the_same_search_for_another_number_of_captions(toy):
    search, decoder = Beam(4, 6, 0.7, 1, n_best=2), toy(9, seed=2)
    more = search.with_captions(3)
    assert (vars(more), search.n_best) == (vars(Beam(4, 6, 0.7, 1, n_best=3)), 2)
    photographs = toy.photographs(*range(4))
    assert torch.equal(more(decoder, photographs).tokens, Beam(4, 6, 0.7, 1, n_best=3)(decoder, photographs).tokens)
    with pytest.raises(CaptioningError, match="5 captions of each photograph: beam search of width 4 finds 1 to 4"):
        search.with_captions(5)
