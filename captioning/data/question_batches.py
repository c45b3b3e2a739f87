"""Batches of questions with their photographs.

The seed and the step alone determine the questions of a batch, as for captions (``captioning.data.batches``).

Dimensions: Q questions, B photographs, T words of the longest question.
"""

import logging
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from captioning.core.errors import CaptioningError
from captioning.core.features import Features
from captioning.core.questions import KINDS, AnswerSet, Questions, QuestionVocabulary, normal_answer, question_numbers
from captioning.data.batches import Draw, PhotoBatch, PhotoDataset, Places
from captioning.data.module import PhotoData
from captioning.data.photos import CaptionedPhotos
from captioning.data.questions import Question, QuestionSet
from captioning.text.registry import Tokenizer

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class QuestionBatch(PhotoBatch):
    """Q questions about B photographs.

    Attributes:
        places: ``(Q,)`` the questions' indices in the split.
        of: ``(Q,)`` the photograph of each question, among the B.
        questions: the questions' words and kinds.
        answers: ``(Q,)`` the numbers of the answers; -1 for an answer that the set of answers lacks.
    """

    places: Tensor
    of: Tensor
    questions: Questions
    answers: Tensor


@dataclass(frozen=True)
class EncodedQuestions:
    """The questions of a split as numbers, in flat arrays.

    Attributes:
        words: the words of all questions, one question after the other.
        ends: ``(N,)`` the end of each question in ``words``.
        kinds: ``(N,)`` the place of each question's kind in ``KINDS``.
        answers: ``(N,)`` the number of each question's answer; -1 for an answer that the set of answers lacks.
        photos: ``(N,)`` the place of each question's photograph among the split's; -1 without photographs.
    """

    words: "np.ndarray[tuple[int], np.dtype[np.int32]]"
    ends: "np.ndarray[tuple[int], np.dtype[np.int64]]"
    kinds: "np.ndarray[tuple[int], np.dtype[np.int64]]"
    answers: "np.ndarray[tuple[int], np.dtype[np.int64]]"
    photos: "np.ndarray[tuple[int], np.dtype[np.int64]]"

    @classmethod
    def of(
        cls,
        questions: Sequence[Question],
        photos: Sequence[int],
        vocabulary: QuestionVocabulary,
        answers: AnswerSet,
        tokenizer: Tokenizer,
        max_words: int,
    ) -> "EncodedQuestions":
        """Tokenize questions and convert them to numbers; a question without a token is one unknown word.

        Args:
            questions: N questions.
            photos: the place of each question's photograph, see ``QuestionSet.places``.
            vocabulary: the words of the training split's questions.
            answers: the answers of the training split.
            tokenizer: the tokenizer of the vocabulary.
            max_words: the number of words after which a question is cut.
        """
        words, ends = array("i"), array("q")
        for tokens in tokenizer([question.text for question in questions]):
            words.extend(question_numbers(vocabulary, tokens or ["<unk>"], max_words))
            ends.append(len(words))
        return cls(
            np.frombuffer(words, np.int32),
            np.frombuffer(ends, np.int64),
            np.array([KINDS.index(question.kind) for question in questions]),
            np.array([answers.number(normal_answer(question.answer)) for question in questions]),
            np.asarray(photos, dtype=np.int64),
        )

    def __len__(self) -> int:
        """N."""
        return len(self.ends)

    def __getitem__(self, place: int) -> "np.ndarray[tuple[int], np.dtype[np.int32]]":
        """The words of one question."""
        return self.words[self.ends[place - 1] if place else 0 : self.ends[place]]

    def questions(self, places: Sequence[int]) -> Questions:
        """Some of the questions, side by side."""
        return Questions.of([self[place].tolist() for place in places], self.kinds[list(places)].tolist())


class QuestionDataset(PhotoDataset):
    """Questions with the features or images of their photographs, each photograph of a batch once."""

    def __init__(self, encoded: EncodedQuestions, **images: Any) -> None:
        """Take the questions, and the sources of features and images, see ``PhotoDataset``."""
        super().__init__(**images)
        self.encoded = encoded

    def __getitem__(self, draw: Draw) -> QuestionBatch:
        """The batch of the questions whose indices are drawn."""
        places = list(draw.photos)
        photos = self.encoded.photos[places].tolist()
        seen = {photo: number for number, photo in enumerate(dict.fromkeys(photos))}
        return QuestionBatch(
            **vars(super().__getitem__(Draw(list(seen), draw.seed))),
            places=torch.tensor(places),
            of=torch.tensor([seen[photo] for photo in photos]),
            questions=self.encoded.questions(places),
            answers=torch.from_numpy(self.encoded.answers[places]),
        )


class QuestionData(PhotoData):
    """Batches of questions; in training without those whose answer the set of answers lacks."""

    def __init__(
        self,
        source: QuestionSet,
        vocabulary: QuestionVocabulary,
        answers: AnswerSet,
        *,
        tokenizer: Tokenizer,
        max_words: int,
        features: Callable[[str], Callable[[Sequence[int]], Features]] | None,
        **common: Any,
    ) -> None:
        """Take the data.

        Args:
            source: the questions by split.
            vocabulary: the words of the training questions.
            answers: the answers of the training questions.
            tokenizer: the tokenizer of the vocabulary.
            max_words: the number of words after which a question is cut.
            features: the reader of stored features, see ``PhotoData``; ``no_features`` for a model of questions alone.
            common: the other arguments of ``PhotoData``.
        """
        super().__init__(source.photos or CaptionedPhotos(source.name), features=features, **common)
        self.source, self.vocabulary, self.answers = source, vocabulary, answers
        self.tokenizer, self.max_words = tokenizer, max_words

    def encoded(self, split: str) -> EncodedQuestions:
        """The questions of a split as numbers."""
        questions, photos = self.source[split], self.source.places(split)
        return EncodedQuestions.of(questions, photos, self.vocabulary, self.answers, self.tokenizer, self.max_words)

    def dataset(self, split: str, shuffle: bool) -> tuple[PhotoDataset, Places]:
        """The dataset of a split, and the indices of its questions.

        Raises:
            CaptioningError: no training question has an answer of the set.
        """
        encoded = self.encoded(split)
        dataset = QuestionDataset(encoded, **self._images(split, shuffle))
        if not shuffle:
            return dataset, range(len(encoded))
        known = np.flatnonzero(encoded.answers >= 0)
        if not len(known):
            raise CaptioningError("No training question has one of the answers that are kept. Raise data.most_answers.")
        if len(known) < len(encoded):
            log.info("%d of %d training questions have an answer that is learned.", len(known), len(encoded))
        return dataset, known

    def describe_batch(self, batch: PhotoBatch) -> str:
        """A description of a training batch, for locating an error in the data."""
        assert isinstance(batch, QuestionBatch)
        return "questions " + ", ".join(str(self.source["train"][place].id) for place in batch.places.tolist())


def no_features(split: str) -> Callable[[Sequence[int]], Features]:
    """The reader of features for models that read no photograph."""
    return _none


def _none(photos: Sequence[int]) -> Features:
    return Features.none(len(photos))
