"""Consensus: the captions that beam search finds, ranked by their expected similarity, written out in plain Python."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from captioning.core.errors import CaptioningError
from captioning.core.state import State
from captioning.core.vocabulary import END, PAD
from captioning.metrics.cider import CiderD
from captioning.metrics.frequencies import DocumentFrequencies
from captioning.metrics.references import References
from captioning.search import Beam, Consensus, Sample, consensus
from captioning.search.consensus import similarities


class Equal(DocumentFrequencies):
    """Every n-gram has a weight of one."""

    images = 1

    def counts_of(self, index):
        raise NotImplementedError

    def weights(self, index):
        return np.ones(len(index))


def spoken(row):
    return [token for token in row.tolist() if token not in (PAD, END)]


def cider_of(caption, other):
    """CIDEr-D without weights, of this package's own metric: the n-grams of numbers as words."""
    texts = [" ".join(f"w{token}" for token in words) for words in (caption, other)]
    references = References([[texts[1]]], lambda captions: [text.split() for text in captions])
    return float(CiderD(references, Equal())([texts[0]], [0])[0]) / 10


def test_similarities_are_cider_d_without_weights():
    rng = np.random.default_rng(0)
    tokens = torch.full((12, 9), PAD)
    for row in tokens:
        length = rng.integers(0, 9)
        row[:length] = torch.tensor(rng.integers(4, 8, length))  # few words: n-grams repeat
        row[length] = END
    tokens[3] = tokens[5]
    found = similarities(tokens)
    words = [spoken(row) for row in tokens]
    assert {len(each) for each in words} >= {0, 1, 2}
    for i, caption in enumerate(words):
        for j, other in enumerate(words):
            assert float(found[i, j]) == pytest.approx(cider_of(caption, other), abs=1e-6), (caption, other)
    long = next(i for i, each in enumerate(words) if len(each) >= 4)
    assert float(found[long, long]) == pytest.approx(1)
    assert not torch.equal(found, found.T)  # counts are clipped by the caption's, not by the other's


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    words=st.integers(3, 6),
    end_bias=st.sampled_from([-20.0, -1.0, 0.0, 1.0]),
    images=st.lists(st.integers(0, 900), min_size=1, max_size=4),
    size=st.integers(1, 7),
    temperature=st.sampled_from([0.2, 1.0, 1e6]),
    max_length=st.integers(1, 7),
    penalty=st.sampled_from([0.0, 0.7]),
)
def test_the_ranking_is_its_definition(toy, seed, words, end_bias, images, size, temperature, max_length, penalty):
    decoder, features = toy(words, seed, end_bias=end_bias), toy.photographs(*images)
    beam = Beam(size, max_length, penalty, n_best=size)(decoder, features, attention=True)
    found = Consensus(size, temperature, max_length, penalty, n_best=size)(decoder, features, attention=True)
    for b in range(len(images)):
        there = [n for n in range(size) if beam.scores[b, n] > -torch.inf]
        ended = [n for n in there if END in beam.tokens[b, n]]
        voters = ended or there
        votes = [math.exp((float(beam.scores[b, n]) - float(beam.scores[b, voters[0]])) / temperature) for n in voters]
        expected = {
            n: sum(
                vote / sum(votes) * cider_of(spoken(beam.tokens[b, n]), spoken(beam.tokens[b, other]))
                for vote, other in zip(votes, voters, strict=True)
            )
            for n in there
        }
        values = [float(score) for score in found.scores[b] if score > -torch.inf]
        assert len(values) == len(there)
        assert values[: len(voters)] == sorted(values[: len(voters)], reverse=True)
        for n, value in enumerate(values):
            same = [m for m in there if torch.equal(beam.tokens[b, m], found.tokens[b, n])]
            assert len(same) == 1
            assert value == pytest.approx(expected[same[0]], abs=1e-5)
            assert torch.equal(found.attention[b, n], beam.attention[b, same[0]])
            assert (same[0] in voters) == (n < len(voters))  # what was cut comes last


def test_the_best_caption_is_another_than_beam_search_s(toy):
    """And with votes of the likeliest caption alone it is the same."""
    decoder, features = toy(6, 1), toy.photographs(*range(40))
    beam, one = Beam(6)(decoder, features).tokens, Consensus(6, 1e-4, length_penalty=0)(decoder, features)
    several = Consensus(6, 1e6, length_penalty=0)(decoder, features).tokens
    width = min(beam.shape[2], one.tokens.shape[2])
    assert torch.equal(beam[..., :width], one.tokens[..., :width])
    assert not torch.equal(one.tokens, several)
    assert one.tokens.shape[:2] == (40, 1) and one.attention is None
    three = Consensus(6, 1e6, length_penalty=0).with_captions(3)(decoder, features)
    assert torch.equal(three.tokens[:, :1], several)


def test_a_batch_is_each_photograph_alone(toy):
    decoder = toy(6, 2)
    together = Consensus(5, n_best=2)(decoder, toy.photographs(*range(20)))
    for image in range(20):
        alone = Consensus(5, n_best=2)(decoder, toy.photographs(image))
        assert [spoken(row) for row in alone.tokens[0]] == [spoken(row) for row in together.tokens[image]]
        assert torch.allclose(alone.scores[0], together.scores[image], atol=1e-6)


@pytest.mark.parametrize("temperature", [0, 1e-45, math.inf, math.nan])
def test_a_temperature_that_cannot_divide_is_refused(temperature):
    for kind in (Consensus, Sample):
        with pytest.raises(
            CaptioningError, match=rf"search\.temperature={temperature}: take one from 0\.0001 to 1e\+09"
        ):
            kind(temperature=temperature)


def test_autocast_does_not_round_the_ranking(toy):
    decoder, features = toy(6, 3), toy.photographs(*range(20))
    plain = Consensus(6)(decoder, features)
    with torch.autocast("cpu", torch.bfloat16):
        found = Consensus(6)(decoder, features)
    assert found.scores.dtype == torch.float32
    assert torch.equal(found.scores, plain.scores) and torch.equal(found.tokens, plain.tokens)


def test_a_comparison_in_parts_is_the_same(monkeypatch):
    tokens = torch.randint(4, 9, (13, 8), generator=torch.Generator().manual_seed(0))
    whole = similarities(tokens)
    monkeypatch.setattr(consensus, "AT_ONCE", 200)
    assert torch.equal(similarities(tokens), whole)


def test_the_sentinel_follows_its_caption(toy):
    class Watching(toy):
        def step(self, tokens, state):
            logits, after = super().step(tokens, state)
            number = after.sequence["number"]
            return logits, State(after.image, {**after.sequence, "sentinel": number.float()})

    decoder, features = Watching(6, 1), toy.photographs(*range(5))
    beam = Beam(6, length_penalty=0.6, n_best=6)(decoder, features, attention=True)
    found = Consensus(6, n_best=6)(decoder, features, attention=True)
    for b in range(5):
        for n, row in enumerate(found.tokens[b]):
            (place,) = [m for m in range(6) if torch.equal(beam.tokens[b, m], row)]
            assert torch.equal(found.sentinel[b, n], beam.sentinel[b, place])
