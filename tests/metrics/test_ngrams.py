"""N-grams as numbers against tuples and counters."""

import random
from collections import Counter

import numpy as np
import pytest

from captioning.metrics import ngrams
from captioning.metrics.explanation import words_of_ngrams
from captioning.metrics.ngrams import ORDERS, count_ngrams


def captions(seed: int, words: str, count: int = 60) -> list[list[str]]:
    draw = random.Random(seed)
    return [draw.choices(words.split(" "), k=draw.randint(0, 12)) for _ in range(count)]


@pytest.mark.parametrize("bits", [63, 8])
@pytest.mark.parametrize("near", [None, "d x c a y b"])
def test_counts(bits: int, near: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """As one number, and where the numbers are too large for that; with another index's order and without."""
    monkeypatch.setattr(ngrams, "_BITS", bits)
    said = captions(1, "a b c d e")
    counts = count_ngrams(said, near and count_ngrams([near.split(" ")]).index)
    written = words_of_ngrams(counts.index)
    expected = [
        Counter(tuple(words[place : place + n]) for n in range(1, ORDERS + 1) for place in range(len(words) - n + 1))
        for words in said
    ]
    found: list[Counter[tuple[str, ...]]] = [Counter() for _ in said]
    for caption, ngram, count in zip(counts.caption, counts.ngram, counts.count, strict=True):
        assert written[ngram] not in found[caption]
        found[caption][written[ngram]] = int(count)
    assert found == expected
    assert len(written) == len(set(written)) == len(counts.index)
    pairs = list(zip(counts.ngram.tolist(), counts.caption.tolist(), strict=True))
    assert pairs == sorted(pairs)
    for keys in counts.index.keys:
        assert (np.diff(keys) > 0).all()
    assert counts.lengths.tolist() == [*map(len, said)]
    names = [*counts.index.words]
    flat = [word for words in said for word in words]
    assert [names[word] for word in counts.words.tolist()] == flat
    place = iter(counts.places.tolist())
    for pair in range(counts.singles):
        for _ in range(counts.count[pair]):
            here = next(place)
            assert names[counts.ngram[pair]] == flat[here]
            assert counts.caption_of_words[here] == counts.caption[pair]
    if near:
        assert [word for word in names if word in near] == ["d", "c", "a", "b"] and names[-1] == "e"


def test_places_in_another_index() -> None:
    """Whatever the order of its words."""
    known = count_ngrams(captions(2, "a b c d x"))
    there = {words: place for place, words in enumerate(words_of_ngrams(known.index))}
    for counts in (count_ngrams(captions(3, "e d c b a")), count_ngrams(captions(3, "e d c b a"), known.index)):
        expected = [there.get(words, -1) for words in words_of_ngrams(counts.index)]
        assert counts.index.locate(known.index).tolist() == expected
        assert min(expected) == -1 and max(expected) > 300
