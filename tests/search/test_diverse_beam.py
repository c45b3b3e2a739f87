"""Diverse beam search against its definition written out for one photograph in plain Python."""

import math
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from captioning.core.errors import CaptioningError
from captioning.core.vocabulary import END, PAD, START, UNK
from captioning.search import Beam, DiverseBeam


def spoken(row):
    return tuple(token for token in row.tolist() if token != PAD)


def repeats(words, n):
    ngrams = [words[i : i + n] for i in range(len(words) - n + 1)] if n else []
    return len(set(ngrams)) < len(ngrams)


def reference(decoder, image, search):
    """Algorithm 1 with Hamming diversity: lists, full sorts, float32 sums, no early stop; each group's captions."""
    width = search.size // search.groups
    live = [[(np.float32(0), np.float32(0), ())] for _ in range(search.groups)]  # log p, penalty, words
    ended = [[] for _ in range(search.groups)]
    for length in range(1, search.max_length + 1):
        taken: Counter[int] = Counter()
        for group in range(search.groups):
            extensions = []
            for score, penalty, words in live[group]:
                number, previous = image, START
                for token in (*words, None):
                    number = decoder.hash(number, previous, image)
                    previous = token
                for token, log_prob in enumerate(decoder.log_probs[number].numpy()):
                    if token in (PAD, START, UNK) or repeats((*words, token), search.block_ngrams):
                        continue
                    cost = np.float32(search.diversity) * np.float32(taken[token])
                    key = (score - penalty) + (log_prob - cost)
                    extensions.append((key, score + log_prob, penalty + cost, (*words, token)))
            extensions = sorted(extensions, key=lambda e: -e[0])[:width]
            taken.update(words[-1] for *_, words in extensions)
            norm = np.float32(length**search.length_penalty)
            ended[group] += [(score / norm, words) for _, score, _, words in extensions if words[-1] == END]
            live[group] = [(s, p, words) for _, s, p, words in extensions if words[-1] != END]
    norm = np.float32(search.max_length**search.length_penalty)
    found = []
    for group in range(search.groups):
        cut = [(score / norm, words) for score, _, words in live[group]]
        found.append(sorted(ended[group], key=lambda e: -e[0]) + cut)
    return found


@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    words=st.integers(3, 9),
    end_bias=st.sampled_from([-20.0, -1.0, 0.0, 1.0]),
    images=st.lists(st.integers(0, 900), min_size=1, max_size=5),
    groups=st.integers(1, 4),
    width=st.integers(1, 3),
    diversity=st.sampled_from([0.0, 0.5, 2.0, 50.0]),
    max_length=st.integers(1, 7),
    penalty=st.sampled_from([0.0, 0.7]),
    block=st.integers(0, 2),
)
@example(  # a beam without hope keeps out a likelier one
    seed=93,
    words=7,
    end_bias=0.0,
    images=[120],
    groups=2,
    width=3,
    diversity=50.0,
    max_length=5,
    penalty=0.0,
    block=1,
)
def test_each_group_is_the_definition(
    toy, seed, words, end_bias, images, groups, width, diversity, max_length, penalty, block
):
    decoder = toy(words, seed, end_bias=end_bias)
    search = DiverseBeam(groups * width, groups, diversity, max_length, penalty, block, n_best=groups * width)
    found = search(decoder, toy.photographs(*images), attention=True)
    for b, image in enumerate(images):
        expected = reference(decoder, image, search)
        captions = {}  # by rank in their groups, without repeats
        for rank in range(width):
            row = [captions_of[rank] for captions_of in expected if rank < len(captions_of)]
            for score, caption in sorted(row, key=lambda e: (e[1][-1] != END, -e[0])):
                captions.setdefault(caption, score)
        there = {spoken(row): score for row, score in zip(found.tokens[b], found.scores[b].tolist(), strict=True)}
        there.pop((), None)
        assert there == pytest.approx(captions, abs=1e-4)
        for row, weights in zip(found.tokens[b], found.attention[b], strict=True):
            assert weights[: len(spoken(row))].tolist() == decoder.walk(image, spoken(row))[1]


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    levels=st.sampled_from([0, 2]),
    end_bias=st.sampled_from([-20.0, 0.0, 2.0]),
    size=st.integers(1, 5),
    penalty=st.sampled_from([0.0, 0.7]),
    block=st.integers(0, 2),
    data=st.data(),
)
def test_one_group_is_beam_search(toy, seed, levels, end_bias, size, penalty, block, data):
    decoder, photographs, n = (
        toy(7, seed, levels, end_bias),
        toy.photographs(*range(6)),
        data.draw(st.integers(1, size)),
    )
    one = DiverseBeam(size, 1, 0.5, 6, penalty, block, n)(decoder, photographs, True)
    plain = Beam(size, 6, penalty, block, n)(decoder, photographs, True)
    assert torch.equal(one.scores, plain.scores)
    assert torch.equal(one.tokens, plain.tokens)
    assert torch.equal(one.attention, plain.attention)


def test_every_group_gives_its_best_and_a_penalty_makes_them_differ(toy):
    decoder, photographs = toy(12, seed=5), toy.photographs(*range(40))

    def different(diversity):
        found = DiverseBeam(6, 3, diversity, 8, n_best=3)(decoder, photographs)
        ended = (found.tokens == END).any(dim=2)
        assert ((found.scores.diff(dim=1) <= 0) | (ended[:, :-1] & ~ended[:, 1:])).all()
        assert (ended.int().diff(dim=1) <= 0).all()
        first = [[spoken(row)[0] for row in rows if spoken(row)] for rows in found.tokens]
        return sum(len(set(words)) for words in first) / len(first)

    assert different(100.0) == 3  # no two groups begin alike
    assert different(100.0) > different(1.0) > different(0.05)


def test_equal_captions_of_groups_are_given_once_and_others_fill_their_places(toy):
    decoder, photographs = toy(6, seed=1), toy.photographs(*range(10))
    found = DiverseBeam(6, 3, 0.0, 5, n_best=2)(decoder, photographs)  # three equal searches of two beams
    plain = Beam(2, 5, n_best=2)(decoder, photographs)
    assert torch.equal(found.tokens, plain.tokens) and torch.equal(found.scores, plain.scores)
    many = DiverseBeam(6, 3, 0.0, 5, n_best=6)(decoder, photographs)
    assert (many.scores[:, 2:] == -math.inf).all() and not many.tokens[:, 2:].any()


@pytest.mark.parametrize(
    ("wrong", "named"),
    [({"groups": 4}, "search.groups=4"), ({"groups": 0}, "groups"), ({"diversity": -1}, "diversity")],
)
def test_wrong_settings(wrong, named):
    with pytest.raises(CaptioningError, match=named):
        DiverseBeam(**wrong)
