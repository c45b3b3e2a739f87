"""Metrics of answers, held to numbers by hand and to WordNet."""

from itertools import combinations
from pathlib import Path

import pytest

from captioning.core.errors import CaptioningError
from captioning.metrics import (
    Accuracy,
    AccuracyByKind,
    AnswerPairs,
    Pairs,
    References,
    Scores,
    UnavailableError,
    VqaAccuracy,
    Wups,
)
from captioning.metrics import answers as module
from captioning.metrics.bootstrap import bootstrap, interval
from captioning.text.wordnet import wordnet as wordnet_of_nltk
from captioning.text.words import tokenize_words_each


def pairs(given: list[str], right: list[list[str]], kinds: list[str] | None = None) -> AnswerPairs:
    return AnswerPairs(References(right, tokenize_words_each), given, kinds or ["object"] * len(given))


def test_accuracy_and_accuracy_by_kind() -> None:
    found = pairs(
        ["Dog", "two", "red", "red"], [["dog"], ["three"], ["red"], ["blue"]], ["object", "number", *2 * ["colour"]]
    )
    scores = Scores.of([Accuracy(), AccuracyByKind()], found)
    assert scores.corpus() == {"accuracy": 0.5, "object": 1.0, "number": 0.0, "colour": 0.5, "location": 0.0}
    drawn = bootstrap([scores], resamples=50)[0]
    low, high = interval(drawn["accuracy"])
    assert 0 <= low < 0.5 < high <= 1
    with pytest.raises(CaptioningError, match="kind of each question"):
        AccuracyByKind().statistics(Pairs(found.prepared, found.candidates))


@pytest.mark.parametrize(
    ("given", "people", "expected"),
    [
        ("yes", ["yes"] * 10, 1.0),
        ("yes", ["no"] * 10, 0.0),
        ("yes", ["yes"] + ["no"] * 9, 9 * (1 / 3) / 10),  # the one who agrees has nobody to agree with
        ("yes", ["yes"] * 2 + ["no"] * 8, (2 * (1 / 3) + 8 * (2 / 3)) / 10),
        ("yes", ["yes"] * 3 + ["no"] * 7, (3 * (2 / 3) + 7 * 1) / 10),
        ("yes", ["yes"] * 4 + ["no"] * 6, 1.0),
        ("Two dogs.", ["2 dogs"] * 5 + ["dogs"] * 5, 1.0),
        ("the left/right", ["left right"] * 9 + ["left"], 1.0),
        ("1,000", ["1000"] * 9 + ["many"], 1.0),
    ],
)
def test_vqa_accuracy_by_hand(given: str, people: list[str], expected: float) -> None:
    assert VqaAccuracy().statistics(pairs([given], [people]))[0, 0] == pytest.approx(expected)


def test_wups_with_wordnet(shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import nltk

    monkeypatch.setattr(nltk.data, "path", [str(shared / "nltk_data"), *nltk.data.path])
    wordnet_of_nltk.cache_clear()
    given, right = ["dog", "car", "dog", "qwx", "chair, table"], ["dog", "jeep", "train", "dog", "table, chair"]
    found = [Wups(threshold).statistics(pairs(given, [[each] for each in right]))[:, 0] for threshold in (0.9, 0.0)]
    from nltk.corpus import wordnet

    def similarity(one: str, other: str) -> float:
        every = ((a, b) for a in wordnet.synsets(one, "n") for b in wordnet.synsets(other, "n"))
        return max(a.wup_similarity(b) for a, b in every)

    near, far = similarity("car", "jeep"), similarity("dog", "train")
    words = ("dog", "train", "room", "kitchen", "man", "kite", "two", "street", "grass")
    for pair in combinations(words, 2):
        assert module.wu_palmer(*pair) == pytest.approx(similarity(*pair)), pair
    assert near > 0.9 > far > 0
    assert found[1] == pytest.approx([1, near, far, 0, 1])
    assert found[0] == pytest.approx([1, near, far * 0.1, 0, 1])


def test_without_wordnet_there_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    from nltk.corpus import wordnet

    def missing() -> None:
        raise LookupError

    monkeypatch.setattr(wordnet, "ensure_loaded", missing, raising=False)
    wordnet_of_nltk.cache_clear()
    with pytest.raises(UnavailableError, match=r"python -m nltk.downloader wordnet"):
        Wups().statistics(pairs(["a"], [["b"]]))
    wordnet_of_nltk.cache_clear()
