"""Questions and answers as models see them: kinds, vocabularies, and batches of word numbers.

Dimensions: Q questions, T words of the longest question.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from captioning.core.errors import CaptioningError
from captioning.core.moving import Movable
from captioning.core.vocabulary import PAD, UNK, Vocabulary

if TYPE_CHECKING:  # scores of answers need no torch
    from torch import Tensor

KINDS = ("object", "number", "colour", "location", "yes/no", "other")  # COCO-QA's four, and VQA's other two
_NUMBER = re.compile(r"\bhow many\b")
_COLOUR = re.compile(r"\b(what|which) (is the |are the |was the )?colou?rs?\b")
_YES_NO = re.compile(r"^(is|are|was|were|do|does|did|has|have|can|could|will|would|should)(n't)?\b")


def kind_of(question: str) -> str:
    """The kind of a question by its words, where nothing else tells it: one of ``KINDS``.

    A test compares the rule with the kinds that COCO-QA's files give.
    """
    text = question.lower().strip()
    if _NUMBER.search(text):
        return "number"
    if text.startswith("where "):
        return "location"
    if _COLOUR.search(text):
        return "colour"
    return "yes/no" if _YES_NO.match(text) else "object"


def normal_answer(answer: str) -> str:
    """An answer in lower case, with single blanks: the form in which answers are learned and compared."""
    return " ".join(answer.lower().split())


class QuestionVocabulary(Vocabulary):
    """The words of questions, numbered."""

    of: ClassVar = "words of the training questions"


class AnswerSet:
    """The answers that a model can give, numbered from 0 by decreasing count.

    Attributes:
        of: the answers and their origin, for an error's message.
    """

    of: ClassVar = "answers of the training questions"

    def __init__(self, answers: Sequence[str]) -> None:
        """Take the answers in their order.

        Raises:
            CaptioningError: there is no answer, or one occurs twice.
        """
        self.words = list(answers)
        self.numbers = {answer: number for number, answer in enumerate(self.words)}
        if not self.words or len(self.numbers) != len(self.words):
            raise CaptioningError(
                f"A set of answers has one answer or more, each once; this one has {len(self.words)}, of which "
                f"{len(self.numbers)} differ."
            )

    @classmethod
    def build(cls, answers: Iterable[str], most: int | None = None) -> "AnswerSet":
        """Count answers (the training split's alone), ties in alphabetical order.

        Args:
            answers: the answers in their normal form, see ``normal_answer``.
            most: the number of frequent answers that are kept; None for all.
        """
        counts = Counter(answers)
        return cls(sorted(counts, key=lambda answer: (-counts[answer], answer))[:most])

    def __len__(self) -> int:
        """A, the number of answers."""
        return len(self.words)

    def number(self, answer: str) -> int:
        """The number of an answer in its normal form; -1 for an answer that is not in the set."""
        return self.numbers.get(answer, -1)


@dataclass(frozen=True)
class Questions(Movable):
    """Q questions.

    Attributes:
        words: ``(Q, T)`` the words' numbers, ``<pad>`` behind a question's end, ``<unk>`` for unknown words.
        kinds: ``(Q,)`` the places of their kinds in ``KINDS``.
    """

    words: "Tensor"
    kinds: "Tensor"

    @classmethod
    def of(cls, numbers: Sequence[Sequence[int]], kinds: Sequence[int]) -> "Questions":
        """Put questions of different lengths side by side; each has a word or more."""
        import torch

        words = torch.full((len(numbers), max(map(len, numbers), default=1)), PAD)
        for place, question in enumerate(numbers):
            words[place, : len(question)] = torch.as_tensor(question)
        return cls(words, torch.as_tensor(kinds))

    @property
    def lengths(self) -> "Tensor":
        """``(Q,)`` the number of words of each question."""
        return (self.words != PAD).sum(-1)


def question_numbers(vocabulary: Vocabulary, tokens: Sequence[str], max_words: int | None = None) -> list[int]:
    """The numbers of a question's words, without START and END; unknown words become ``<unk>``."""
    return [max(vocabulary.numbers.get(token, UNK), UNK) for token in tokens[:max_words]]
