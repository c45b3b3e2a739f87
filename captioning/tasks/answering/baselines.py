"""What one says without a look at the photograph: the baselines that stand beside every score.

Ren, Kiros and Zemel 2015, section 4.3, call the first one GUESS; the second one knows the question's beginning.
"""

from collections import Counter
from collections.abc import Sequence

from captioning.core.questions import normal_answer
from captioning.data.questions import Question
from captioning.text.registry import Tokenizer


class Majority:
    """The most frequent training answer of the question's kind."""

    name = "majority"

    def __init__(self, training: Sequence[Question]) -> None:
        """Count the training answers of each kind."""
        counts: dict[str, Counter[str]] = {}
        for question in training:
            counts.setdefault(question.kind, Counter())[normal_answer(question.answer)] += 1
        self.best = {kind: _first(counter) for kind, counter in counts.items()}
        self.overall = _first(sum(counts.values(), Counter()))

    def __call__(self, questions: Sequence[Question]) -> list[str]:
        """An answer to each question."""
        return [self.best.get(question.kind, self.overall) for question in questions]


class Blind:
    """The most frequent training answer of all questions with the same longest beginning, word for word.

    The whole question counts as its longest beginning; a question whose first word is new gets the majority's answer.
    """

    name = "blind"

    def __init__(self, training: Sequence[Question], tokenizer: Tokenizer) -> None:
        """Count the training answers of each beginning."""
        self.tokenizer, self.majority = tokenizer, Majority(training)
        counts: dict[tuple[str, ...], Counter[str]] = {}
        for question, words in zip(training, tokenizer([each.text for each in training]), strict=True):
            answer = normal_answer(question.answer)
            for end in range(1, len(words) + 1):
                counts.setdefault(tuple(words[:end]), Counter())[answer] += 1
        self.best = {beginning: _first(counter) for beginning, counter in counts.items()}

    def __call__(self, questions: Sequence[Question]) -> list[str]:
        """An answer to each question."""
        otherwise = self.majority(questions)
        every = self.tokenizer([question.text for question in questions])
        return [self._answer(tuple(words), other) for words, other in zip(every, otherwise, strict=True)]

    def _answer(self, words: tuple[str, ...], otherwise: str) -> str:
        beginnings = (words[:end] for end in range(len(words), 0, -1))
        return next((self.best[beginning] for beginning in beginnings if beginning in self.best), otherwise)


def _first(counts: Counter[str]) -> str:
    """The most frequent answer, of equals the first in alphabetical order."""
    return min(counts, key=lambda answer: (-counts[answer], answer))
