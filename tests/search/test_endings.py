"""No caption ends in a function word, in any search."""

import itertools
import math
from collections import Counter

import pytest
import torch

from captioning.core.errors import CaptioningError
from captioning.core.vocabulary import END, PAD, SPECIAL, START, UNK, Vocabulary
from captioning.search import Beam, Consensus, ConstrainedBeam, DiverseBeam, Greedy, Sample
from captioning.text.endings import BAD_ENDINGS, ends_badly

WORDS = ("dog", "the", "sun", "with", "runs")
VOCABULARY = Vocabulary([*SPECIAL, *WORDS])
SEARCHES = {
    "greedy": Greedy,
    "sample": lambda *settings: Sample(settings[0], samples=9, temperature=2.0, seed=0, remove_bad_endings=settings[1]),
    "beam": lambda *settings: Beam(4, settings[0], 0.7, n_best=4, remove_bad_endings=settings[1]),
    "diverse": lambda *settings: DiverseBeam(6, 3, 1.0, settings[0], n_best=3, remove_bad_endings=settings[1]),
    "consensus": lambda *settings: Consensus(5, 1.0, settings[0], n_best=5, remove_bad_endings=settings[1]),
    "constrained": lambda *settings: ConstrainedBeam(
        3, settings[0], n_best=3, remove_bad_endings=settings[1], must_say=["with"]
    ),
}


def captions(found):
    return [[VOCABULARY.words[token] for token in row.tolist() if token != PAD] for row in found.tokens.flatten(0, 1)]


@pytest.mark.parametrize("name", SEARCHES)
def test_no_caption_of_any_search_ends_so(toy, name):
    decoder, photographs = toy(len(WORDS) + 1, seed=3, end_bias=1.0), toy.photographs(*range(40))
    share = []
    for remove in (False, True):
        found = SEARCHES[name](9, remove).for_vocabulary(VOCABULARY)(decoder, photographs)
        ended = [caption[:-1] for caption in captions(found) if caption[-1:] == ["<end>"]]
        assert len(ended) > 20
        share.append(sum(map(ends_badly, ended)) / len(ended))
    assert share[0] > 0.1 and share[1] == 0
    with pytest.raises(CaptioningError, match=r"call search\.for_vocabulary"):
        SEARCHES[name](9, True)(decoder, photographs)


def test_beam_search_is_brute_force_among_the_other_captions(toy):
    decoder, words, max_length = toy(len(WORDS) + 1, seed=1, end_bias=1.0), len(WORDS), 4
    search = Beam(6**4, max_length, n_best=6, remove_bad_endings=True).for_vocabulary(VOCABULARY)
    found = search(decoder, toy.photographs(3, 4))
    for b, image in enumerate((3, 4)):
        every = itertools.chain.from_iterable(
            itertools.product(range(UNK + 1, UNK + 1 + words), repeat=length) for length in range(max_length)
        )
        good = [(*c, END) for c in every if not ends_badly([VOCABULARY.words[token] for token in c])]
        best = sorted(((decoder.score(image, caption), caption) for caption in good), reverse=True)[:6]
        assert [tuple(t for t in row.tolist() if t != PAD) for row in found.tokens[b]] == [c for _, c in best]
        assert found.scores[b].tolist() == pytest.approx([score for score, _ in best], abs=1e-5)  # not renormalised


def test_samples_are_drawn_from_the_other_words(toy):
    """After a function word each word's probability is its share among all words but ``<end>``."""
    decoder, image, draws = toy(len(WORDS) + 1, seed=5, end_bias=1.0), 3, 20_000
    search = Sample(max_length=2, samples=draws, seed=0, remove_bad_endings=True).for_vocabulary(VOCABULARY)
    found = search(decoder, toy.photographs(image))
    the = VOCABULARY.numbers["the"]
    counts = Counter(row[1].item() for row in found.tokens[0] if row[0] == the)
    number = decoder.hash(decoder.hash(image, START, image), the, image)
    weights = {token: math.exp(decoder.table[number, token]) for token in range(UNK + 1, UNK + 1 + len(WORDS))}
    total = sum(counts.values())
    assert total > 2000 and END not in counts
    for token, weight in weights.items():
        p = weight / sum(weights.values())
        assert counts[token] / total == pytest.approx(p, abs=4.5 * math.sqrt(p * (1 - p) / total))


def test_the_list_is_that_of_the_source():
    assert len(BAD_ENDINGS) == len(set(BAD_ENDINGS)) == 17
    assert ends_badly(["a", "man", "on", "a"]) and not ends_badly(["a", "man"]) and not ends_badly([])
    assert (search := Greedy(3)).for_vocabulary(VOCABULARY) is search
    unknown = Vocabulary([*SPECIAL, "dog"])  # none of the list is among its words
    found = Greedy(3, True).for_vocabulary(unknown).log_probabilities(torch.zeros(1, 1, 5), torch.tensor([[4]]))
    assert found[..., END].isfinite().all()
