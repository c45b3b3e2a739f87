"""Metrics of answers to questions: accuracy, accuracy by kind, WUPS, and VQA's accuracy.

An item is a question; its references are its answers, one or those of ten people. Intervals and paired tests are those
of any ``Metric``.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from captioning.core.errors import CaptioningError
from captioning.core.measure import Measure
from captioning.core.questions import normal_answer
from captioning.metrics.metric import Metric, Pairs, UnavailableError
from captioning.metrics.ngrams import Floats
from captioning.text.wordnet import WordNetMissingError, wordnet


@dataclass(frozen=True)
class AnswerPairs(Pairs):
    """An answer to each of N questions, with the questions' answers and kinds.

    Attributes:
        kinds: the kind of each question, one of ``captioning.core.questions.KINDS``.
    """

    kinds: Sequence[str] = ()


def right(pairs: Pairs) -> Floats:
    """``(N,)``: 1 where an answer is the most frequent one of the question's answers (of equals the first)."""
    return np.array(
        [
            float(normal_answer(given) == normal_answer(max(dict.fromkeys(answers), key=list(answers).count)))
            for given, answers in zip(pairs.candidates, pairs.references, strict=True)
        ]
    )


class Accuracy(Metric):
    """The share of right answers: equal to the question's answer but for case and blanks."""

    name = "accuracy"

    def statistics(self, pairs: Pairs) -> Floats:
        """``(N, 1)``: 1 for a right answer."""
        return right(pairs)[:, None]


class AccuracyByKind(Metric):
    """The share of right answers among the questions of each kind."""

    def __init__(self, kinds: Sequence[str] = ("object", "number", "colour", "location")) -> None:
        """Take the kinds, each a measure; a kind without questions has 0."""
        self.kinds = tuple(kinds)

    @property
    def measures(self) -> tuple[Measure, ...]:
        """A measure for each kind, by the kind's name; in evaluation alone."""
        return tuple(Measure(kind, higher_is_better=True, scale=100.0, validated=False) for kind in self.kinds)

    def statistics(self, pairs: Pairs) -> Floats:
        """``(N, 2 K)``: for each kind whether the answer is right, and whether the question is of the kind.

        Raises:
            CaptioningError: the questions' kinds are not known.
        """
        if not isinstance(pairs, AnswerPairs) or len(pairs.kinds) != len(pairs):
            raise CaptioningError("Accuracy by kind needs the kind of each question. Leave metrics.kinds out here.")
        of_kind = np.array([[kind == each for kind in self.kinds] for each in pairs.kinds], dtype=np.float64)
        return np.concatenate([of_kind * right(pairs)[:, None], of_kind], axis=1)

    def score(self, sums: Floats, images: Floats) -> Floats:
        """``(…, K)``: the accuracy of each kind."""
        hits, counts = np.split(sums, 2, axis=-1)
        shares: Floats = hits / np.maximum(counts, 1)
        return shares


class Wups(Metric):
    """WUPS: the similarity of an answer to the right one in WordNet (Malinowski & Fritz 2014, arXiv 1410.0210, 3.1).

    As in the authors' ``calculate_wups.py``: equal answers have 1; otherwise it is the largest Wu-Palmer similarity of
    two of their noun meanings, a tenth of it below the threshold, and 0 without such meanings. An answer with commas is
    a set, and the score is the lesser of two products, of each set's members with their best match in the other.
    """

    def __init__(self, threshold: float = 0.9) -> None:
        """Take the threshold."""
        self.threshold = threshold

    @property
    def measures(self) -> tuple[Measure, ...]:
        """``WUPS-0.9``; in evaluation alone, since it takes a while."""
        return (Measure(f"WUPS-{self.threshold:.1f}", higher_is_better=True, scale=100.0, validated=False),)

    def statistics(self, pairs: Pairs) -> Floats:
        """``(N, 1)``: the WUPS of each answer.

        Raises:
            UnavailableError: WordNet is not here.
        """
        _wordnet()
        found = [
            self._of_sets(_members(given), _members(max(dict.fromkeys(answers), key=list(answers).count)))
            for given, answers in zip(pairs.candidates, pairs.references, strict=True)
        ]
        return np.array(found)[:, None]

    def _of_sets(self, given: tuple[str, ...], right: tuple[str, ...]) -> float:
        def product(some: tuple[str, ...], others: tuple[str, ...]) -> float:
            return float(np.prod([max((self._of(one, other) for other in others), default=0.0) for one in some]))

        return min(product(given, right), product(right, given))

    def _of(self, one: str, other: str) -> float:
        found = wu_palmer(one, other)
        return found if found >= self.threshold else 0.1 * found


def _members(answer: str) -> tuple[str, ...]:
    return tuple(part for each in answer.split(",") if (part := normal_answer(each)))


def _wordnet() -> Any:
    """WordNet, or the error of a metric that can't be computed here."""
    try:
        return wordnet()
    except WordNetMissingError as error:
        raise UnavailableError(str(error)) from error


@lru_cache(maxsize=1 << 20)
def wu_palmer(one: str, other: str) -> float:
    """The largest Wu-Palmer similarity of two words' noun meanings, 0 without; 1 for equal words."""
    if one == other:
        return 1.0
    pairs = ((mine, theirs) for mine in _meanings(one) for theirs in _meanings(other))
    return max((_similarity(mine, theirs) for mine, theirs in pairs), default=0.0)


@lru_cache(maxsize=1 << 16)
def _meanings(word: str) -> tuple[Any, ...]:
    found = _wordnet()
    return tuple(found.synsets(word.replace(" ", "_"), pos=found.NOUN))


@lru_cache(maxsize=1 << 20)
def _similarity(mine: Any, theirs: Any) -> float:
    return float(mine.wup_similarity(theirs) or 0.0)


class VqaAccuracy(Metric):
    """VQA's accuracy: ``min(n / 3, 1)`` for n other people who say the same, averaged over leaving each of ten out.

    Antol et al. 2015 (arXiv 1505.00468, section 3); the normalisation is that of the authors' ``vqaEval.py`` except its
    table of contractions ("dont"). Where ten people agree, their answer is taken as it is written, as there.
    """

    name = "VQA"

    def statistics(self, pairs: Pairs) -> Floats:
        """``(N, 1)``: the accuracy of each answer."""
        found = []
        for given, answers in zip(pairs.candidates, pairs.references, strict=True):
            said = normalised(given)
            people = [_without_punctuation(answer) for answer in answers] if len(set(answers)) > 1 else list(answers)
            same = sum(each == said for each in people)
            # each of those who agree leaves one fewer to agree with
            left = [min((same - (each == said)) / 3, 1.0) for each in people]
            found.append(sum(left) / len(left))
        return np.array(found)[:, None]


NUMBERS = {"none": "0", "zero": "0", "one": "1", "two": "2", "three": "3", "four": "4", "five": "5"}
NUMBERS |= {"six": "6", "seven": "7", "eight": "8", "nine": "9", "ten": "10"}
_PUNCTUATION = (";", ":", "/", "'", "[", "]", '"', "(", ")", "=", "+", "\\", "_", ">", "<", "@", "`", ",", "?")
_FULL_STOP = re.compile(r"\.(?!\d)")
_COMMA = re.compile(r"\d,\d")


def normalised(answer: str) -> str:
    """An answer as VQA compares it: without punctuation and articles, numbers as digits."""
    words = _without_punctuation(answer.replace("\n", " ").replace("\t", " ").strip()).lower().split()
    return " ".join(NUMBERS.get(word, word) for word in words if word not in ("a", "an", "the"))


def _without_punctuation(answer: str) -> str:
    found = answer
    for mark in _PUNCTUATION:
        beside_blank = f"{mark} " in answer or f" {mark}" in answer
        found = found.replace(mark, "" if beside_blank or _COMMA.search(answer) else " ")
    return _FULL_STOP.sub("", found)
