"""Greedy search and sampling against distributions worked out by hand."""

import itertools
import math
from collections import Counter

import pytest
import torch

from captioning.core.errors import CaptioningError
from captioning.core.vocabulary import END, PAD, START, UNK
from captioning.search import Greedy, Sample


def spoken(row):
    return tuple(token for token in row.tolist() if token != PAD)


def next_words(decoder, image, words, temperature, top_k, top_p):
    """The distribution of the next word after ``words``, in plain Python."""
    number, previous = image, START
    for token in (*words, None):
        number, previous = decoder.hash(number, previous, image), token
    weights = {
        token: math.exp(logit / temperature)
        for token, logit in enumerate(decoder.table[number].tolist())
        if token not in (PAD, START, UNK)
    }
    ranked = sorted(weights, key=weights.__getitem__, reverse=True)[: top_k or None]
    mass, total, kept = 0.0, sum(weights[token] for token in ranked), []
    for token in ranked:
        if mass >= top_p:
            break
        kept.append(token)
        mass += weights[token] / total
    return {token: weights[token] / sum(weights[token] for token in kept) for token in kept}


@pytest.mark.parametrize(
    ("temperature", "top_k", "top_p"), [(1.0, 0, 1.0), (0.5, 0, 1.0), (2.0, 3, 1.0), (1.0, 0, 0.6), (1.5, 4, 0.8)]
)
def test_frequencies_are_the_probabilities(toy, temperature, top_k, top_p):
    """Of whole captions, two words long: a wrong state after the first word would show."""
    decoder, image, draws = toy(5, seed=2), 11, 20_000
    settings = {"temperature": temperature, "top_k": top_k, "top_p": top_p}
    found = Sample(max_length=2, samples=draws, seed=0, **settings)(decoder, toy.photographs(image, image))
    expected = {}
    for first, p in next_words(decoder, image, (), **settings).items():
        if first == END:
            expected[END,] = p
            continue
        for second, q in next_words(decoder, image, (first,), **settings).items():
            expected[first, second] = p * q
    assert sum(expected.values()) == pytest.approx(1.0)
    for b in range(2):
        counts = Counter(spoken(row) for row in found.tokens[b])
        assert set(counts) <= set(expected)
        for caption, p in expected.items():
            assert counts[caption] / draws == pytest.approx(p, abs=4.5 * math.sqrt(p * (1 - p) / draws))


def test_samples_are_scored_ranked_and_carry_their_attention(toy):
    decoder, images = toy(8, seed=3), range(12)
    found = Sample(max_length=7, samples=5, temperature=1.3, seed=1)(decoder, toy.photographs(*images), attention=True)
    assert (found.scores.diff(dim=1) <= 0).all()
    for b, n in itertools.product(images, range(5)):
        caption = spoken(found.tokens[b, n])
        log_probs, attention = decoder.walk(b, caption)
        assert found.scores[b, n].item() == pytest.approx(sum(log_probs), abs=1e-5)
        assert found.attention[b, n, : len(caption)].tolist() == attention
        assert not found.attention[b, n, len(caption) :].any()
        assert caption[-1] == END or len(caption) == 7
        assert END not in caption[:-1]


def test_the_same_seed_and_calls_give_the_same_captions(toy):
    def calls(seed):
        search = Sample(max_length=6, samples=50, seed=seed)
        return [search(toy(9), toy.photographs(1, 2)).scores for _ in range(2)]

    torch.manual_seed(3)
    first, second, other = calls(5), calls(5), calls(6)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert not torch.equal(*first)
    assert not torch.equal(first[0], other[0])
    untouched = calls(None)
    torch.manual_seed(3)
    assert all(torch.equal(a, b) for a, b in zip(untouched, calls(None), strict=True))


def test_greedy_takes_the_likeliest_word_every_time(toy):
    decoder, images = toy(10, seed=4), range(20)
    found = Greedy(8)(decoder, toy.photographs(*images))
    for image in images:
        words = ()
        while len(words) < 8 and END not in words:
            distribution = next_words(decoder, image, words, 1.0, 0, 1.0)
            words = (*words, max(distribution, key=distribution.__getitem__))
        assert spoken(found.tokens[image, 0]) == words
        assert found.scores[image, 0].item() == pytest.approx(decoder.score(image, words), abs=1e-5)


def test_tokens_can_be_fed_to_training(toy):
    found = Greedy(4)(toy(5), toy.photographs(1))
    embedding = torch.nn.Embedding(8, 2)
    embedding(found.tokens).sum().backward()
    assert embedding.weight.grad is not None


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"temperature": 0.0}, "search.temperature"),
        ({"top_k": -1}, "search.top_k"),
        ({"top_p": 0.0}, "search.top_p"),
        ({"samples": 0}, "search.samples"),
    ],
)
def test_wrong_settings(wrong, named):
    with pytest.raises(CaptioningError, match=named):
        Sample(**wrong)
