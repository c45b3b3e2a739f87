"""Constrained beam search against brute force over a tiny vocabulary, and against its definition in plain Python."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from captioning.core.errors import CaptioningError
from captioning.core.vocabulary import END, PAD, SPECIAL, START, UNK, Vocabulary
from captioning.search import Beam, ConstrainedBeam, DiverseBeam, Greedy, Sample, constrained
from captioning.search.automaton import automaton

WORDS = ("dog", "ball", "hot", "a", "sun")
VOCABULARY = Vocabulary([*SPECIAL, *WORDS])


def spoken(row):
    return tuple(token for token in row.tolist() if token != PAD)


def says(caption, must_say):
    """Whether a caption of numbers says the words, by Python's search in a text."""
    text = f" {' '.join(VOCABULARY.words[token] for token in caption)} "
    return all(any(f" {phrase} " in text for phrase in each.split("|")) for each in must_say)


MUST_SAY = (
    (),
    ("dog",),
    ("dog", "sun"),
    ("dog|ball",),
    ("dog|ball", "sun|ball"),
    ("hot dog",),
    ("a a", "a"),
    ("a hot dog|sun sun",),
    ("hot hot dog|dog a", "sun"),
)


@pytest.mark.parametrize("must_say", MUST_SAY, ids=" ".join)
def test_wide_beam_is_brute_force(toy, must_say):
    """The best captions of all that say the words."""
    words, max_length, n_best, penalty = len(WORDS) + 1, 5, 4, 0.7
    decoder = toy(words, seed=1)
    search = ConstrainedBeam(1000, max_length, penalty, n_best=n_best, must_say=must_say).for_vocabulary(VOCABULARY)
    found = search(decoder, toy.photographs(3, 4), attention=True)
    for b, image in enumerate((3, 4)):
        every = itertools.chain.from_iterable(
            itertools.product(range(UNK + 1, UNK + words), repeat=length) for length in range(max_length)
        )
        captions = [(*caption, END) for caption in every if says(caption, must_say)]
        best = sorted(((decoder.score(image, c) / len(c) ** penalty, c) for c in captions), reverse=True)[:n_best]
        assert [spoken(row) for row in found.tokens[b]] == [caption for _, caption in best]
        assert found.scores[b].tolist() == pytest.approx([score for score, _ in best], abs=1e-5)
        for n, (_, caption) in enumerate(best):
            assert found.attention[b, n, : len(caption)].tolist() == decoder.walk(image, caption)[1]


def reference(decoder, image, search, sets):
    """The definition for single words: ``size`` beams for each set of satisfied constraints, no early stop."""
    live, ended = {frozenset(): [(np.float32(0), ())]}, []
    for length in range(1, search.max_length + 1):
        into: dict[frozenset[int], list] = {}
        for state in live:
            for score, words in live[state]:
                number, previous = image, START
                for token in (*words, None):
                    number = decoder.hash(number, previous, image)
                    previous = token
                for token, log_prob in enumerate(decoder.log_probs[number].numpy()):
                    if token in (PAD, START, UNK) or (token == END and len(state) < len(sets)):
                        continue
                    after = state | {n for n, words_of in enumerate(sets) if token in words_of}
                    into.setdefault(after, []).append((score + log_prob, (*words, token)))
        kept = {state: sorted(found, key=lambda e: -e[0])[: search.size] for state, found in into.items()}
        every = [extension for found in kept.values() for extension in found]
        ended += [(s / np.float32(length**search.length_penalty), w) for s, w in every if w[-1] == END]
        live = {state: [each for each in found if each[1][-1] != END] for state, found in kept.items()}
    norm = np.float32(search.max_length**search.length_penalty)
    cut = [(s / norm, words) for s, words in live.get(frozenset(range(len(sets))), ())]
    return (sorted(ended, key=lambda e: -e[0]) + cut)[: search.n_best]


@settings(max_examples=100, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    end_bias=st.sampled_from([-20.0, -2.0, 0.0, 2.0]),
    images=st.lists(st.integers(0, 900), min_size=1, max_size=5),
    size=st.integers(1, 4),
    max_length=st.integers(4, 7),
    penalty=st.sampled_from([0.0, 0.7]),
    must_say=st.lists(st.sampled_from(["dog", "ball", "dog|sun", "a|hot|ball"]), max_size=3),
)
def test_whole_batch_is_the_definition_for_each(toy, seed, end_bias, images, size, max_length, penalty, must_say):
    decoder = toy(len(WORDS) + 1, seed, end_bias=end_bias)
    search = ConstrainedBeam(size, max_length, penalty, n_best=size, must_say=must_say).for_vocabulary(VOCABULARY)
    found = search(decoder, toy.photographs(*images))
    sets = [{VOCABULARY.numbers[word] for word in each.split("|")} for each in must_say]
    for b, image in enumerate(images):
        expected = reference(decoder, image, search, sets)
        rows = [spoken(row) for row in found.tokens[b]]
        assert rows == [caption for _, caption in expected] + [()] * (size - len(expected))
        assert found.scores[b, : len(expected)].tolist() == pytest.approx([s for s, _ in expected], rel=1e-5)
        assert all(says(row, must_say) for row in rows if row)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    words=st.integers(2, 9),
    levels=st.sampled_from([0, 2]),
    end_bias=st.sampled_from([-20.0, 0.0, 2.0]),
    size=st.integers(1, 6),
    penalty=st.sampled_from([0.0, 0.7]),
    block=st.integers(0, 2),
)
def test_without_words_it_is_beam_search(toy, seed, words, levels, end_bias, size, penalty, block):
    decoder, photographs = toy(words, seed, levels, end_bias), toy.photographs(*range(6))
    free = ConstrainedBeam(size, 6, penalty, block, size).for_vocabulary(VOCABULARY)(decoder, photographs, True)
    plain = Beam(size, 6, penalty, block, size)(decoder, photographs, True)
    assert torch.equal(free.scores, plain.scores)
    assert torch.equal(free.tokens, plain.tokens)
    assert torch.equal(free.attention, plain.attention)


def test_each_photograph_has_its_own_words(toy):
    decoder, lists = toy(len(WORDS) + 1, seed=2), [["dog"], [], ["hot dog", "sun|ball"], ["a"]]
    photographs = toy.photographs(1, 2, 3, 4)
    search = ConstrainedBeam(3, 7, n_best=2, must_say=lists).for_vocabulary(VOCABULARY)
    found = search(decoder, photographs)
    for b, must_say in enumerate(lists):
        alone = ConstrainedBeam(3, 7, n_best=2, must_say=must_say).for_vocabulary(VOCABULARY)
        expected = alone(decoder, photographs.select(torch.tensor([b])))
        assert [spoken(row) for row in found.tokens[b]] == [spoken(row) for row in expected.tokens[0]]
        assert all(says(spoken(row), must_say) for row in found.tokens[b])
    with pytest.raises(CaptioningError, match="4 lists of words for 2 images"):
        search(decoder, toy.photographs(1, 2))


def test_captions_that_never_end_say_the_words_too(toy):
    search = ConstrainedBeam(2, 4, n_best=2, must_say=["dog", "hot", "sun"]).for_vocabulary(VOCABULARY)
    found = search(toy(len(WORDS) + 1, end_bias=-1e9), toy.photographs(*range(20)))
    assert all(says(spoken(row), ["dog", "hot", "sun"]) for rows in found.tokens for row in rows)
    assert found.scores.isfinite().all()


def test_the_states_of_words_are_the_sets_of_those_said():
    three = automaton(["dog", "sun", "ball|Hot"], VOCABULARY)
    assert len(three.accepting) == 8 and sum(three.accepting) == 1 and three.shortest == 3
    assert automaton(["a a", "a"], VOCABULARY).shortest == 2
    assert automaton(["dog"] * 9, VOCABULARY).shortest == 1  # the same word is one condition
    assert automaton([], VOCABULARY).accepting == (True,)


@pytest.mark.parametrize(
    ("must_say", "said"),
    [
        (["zebra"], r"the captioner's vocabulary has no word 'zebra', so no caption can say it\. Take another word"),
        (["dogs"], r"no word 'dogs'.* Its words are like dog"),
        (["dog|"], "names no word"),
        ([""], "names no word"),
        (["<end>"], "no word '<end>'"),
        (["dog ball", "hot a", "sun sun"], r"max_length=6: a caption of 6 words that must be said"),
        ([f"{a} {b} {a}" for a, b in itertools.permutations(WORDS, 2)], "20 words and phrases are too many"),
        (["dog", ["a"]], "for all images, or a list of words for each"),
    ],
)
def test_words_that_can_t_be_said_are_a_sentence(must_say, said):
    with pytest.raises(CaptioningError, match=said):
        ConstrainedBeam(5, 6, must_say=must_say).for_vocabulary(VOCABULARY)


def test_another_search_made_to_say_words(toy):
    assert vars(constrained(Beam(4, 7, 0.6, 2, 3, True), ["dog"])) == vars(
        ConstrainedBeam(4, 7, 0.6, 2, 3, True, ["dog"])
    )
    assert vars(constrained(Greedy(7, True), ["a"])) == vars(ConstrainedBeam(1, 7, 0.0, 0, 1, True, ["a"]))
    for search in (Sample(), DiverseBeam()):
        with pytest.raises(CaptioningError, match=rf"{type(search).__name__} can't be made to say given words"):
            constrained(search, ["dog"])
    with pytest.raises(CaptioningError, match=r"call search\.for_vocabulary"):
        ConstrainedBeam(must_say=["dog"])(toy(5), toy.photographs(1))
