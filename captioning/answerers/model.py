"""The base classes of models that answer questions.

Dimensions: Q questions, T words, E embedding, P image features, A answers, V vocabulary, H hidden.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from captioning.core.errors import CaptioningError
from captioning.core.features import Features, FeatureSpec
from captioning.core.questions import Questions
from captioning.core.vocabulary import PAD


@dataclass(frozen=True)
class Answers:
    """What a model says of Q questions.

    Attributes:
        logits: ``(Q, A)`` the scores of all answers; their softmax are the probabilities.
        attention: ``(Q, looks, L)`` the weights of the regions at each look, with the sum 1; None without attention.
    """

    logits: Tensor
    attention: Tensor | None = None


@dataclass(frozen=True)
class Training:
    """The training split as numbers, for what a model counts or remembers instead of learning it by gradients.

    Attributes:
        questions: the words of each of N questions.
        kinds: ``(N,)`` the kind of each question, a place in ``KINDS``.
        answers: ``(N,)`` the number of each question's answer; -1 for one that is not learned.
        photos: ``(N,)`` the place of each question's photograph; -1 without photographs.
        words: the vocabulary's words.
        features: a function from places of photographs to their stored features; None if no features are stored.
    """

    questions: Sequence[Sequence[int]]
    kinds: Tensor
    answers: Tensor
    photos: Tensor
    words: Sequence[str]
    features: Callable[[Sequence[int]], Features] | None = None


class AnswerModel(nn.Module, ABC):
    """A model of answers; a subclass need define ``forward`` alone.

    Attributes:
        reads: the names of the parts of the photographs' features that the model reads; empty for questions alone.
        answers: A, the number of answers.
    """

    reads: tuple[str, ...] = ()

    def __init__(self, vocabulary_size: int, answers: int, features: FeatureSpec) -> None:
        """Take the sizes.

        Args:
            vocabulary_size: V, the number of words.
            answers: A, the number of answers.
            features: the shapes of the encoder's features; without any for a model of questions alone.
        """
        super().__init__()
        self.vocabulary_size, self.answers = vocabulary_size, answers

    @abstractmethod
    def forward(self, features: Features, questions: Questions) -> Answers:
        """The answers to Q questions.

        Args:
            features: the features of each question's photograph, Q of them.
            questions: the questions.
        """

    def begin(self, training: Training) -> None:
        """Look at the training split before the first step; by default nothing is done.

        Raises:
            CaptioningError: the model needs what the split does not have.
        """


class EmbeddingModel(AnswerModel):
    """A model with an embedding of the questions' words.

    Attributes:
        embedding: the layer from words to vectors, ``(V, E)``; the vector of ``<pad>`` is zero.
    """

    def __init__(
        self,
        vocabulary_size: int,
        answers: int,
        features: FeatureSpec,
        *,
        embedding_size: int = 500,
        dropout: float = 0.0,
    ) -> None:
        """Make the embedding.

        Args:
            vocabulary_size: V, the number of words.
            answers: A, the number of answers.
            features: the shapes of the encoder's features.
            embedding_size: E, the numbers of an embedded word.
            dropout: the fraction of numbers that training drops, where the subclass says.
        """
        super().__init__(vocabulary_size, answers, features)
        if not 0 <= dropout < 1:
            raise CaptioningError(f"answerer.dropout={dropout}: take a fraction of 0 or more and below 1.")
        self.embedding_size = embedding_size
        self.embedding = nn.Embedding(vocabulary_size, embedding_size, padding_idx=PAD)
        nn.init.uniform_(self.embedding.weight, -0.1, 0.1)
        with torch.no_grad():
            self.embedding.weight[PAD] = 0.0
        self.dropout = nn.Dropout(dropout)


def image_of(features: Features, part: str) -> Tensor:
    """One vector per question, ``(Q, P)``: the part itself, or the mean over its regions."""
    return features.mean(part)


class Normalised(nn.Module):
    """Image features with mean 0 and deviation 1 in each number over the training photographs (Ren et al. 2015, 4.2).

    Mean and deviation are measured once, before training; without stored features they stay 0 and 1.
    """

    mean: Tensor
    square: Tensor

    def __init__(self, size: int) -> None:
        """Take P, the numbers of a vector."""
        super().__init__()
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("square", torch.ones(size))

    def begin(self, values: Tensor) -> None:
        """Measure the mean and the deviation of vectors ``(N, P)``."""
        self.mean.copy_(values.mean(0))
        self.square.copy_(values.square().mean(0))

    def forward(self, values: Tensor) -> Tensor:
        """The normalised vectors ``(Q, P)``."""
        return (values - self.mean) / (self.square - self.mean.square()).clamp_min(1e-6).sqrt()


def measure(normalised: Normalised, part: str, training: Training, most: int = 4096) -> None:
    """Measure the features of up to ``most`` training photographs, if their features are stored."""
    if training.features is None:
        return
    photos = sorted(set(training.photos.tolist()))
    step = max(1, len(photos) // most)
    found = training.features(photos[::step])
    normalised.begin(image_of(found.to(dtype=torch.get_default_dtype()), part))
