"""K-NN: the answers of the training questions that are nearest, photograph and words together.

Ren, Kiros & Zemel 2015, section 4.3: the words of IMG+BOW are summed, put beside the photograph's features, and the
nearest K by Euclidean distance vote; K is 31 on COCO-QA and 13 on DAQUAR.

Dimensions: Q questions, N training questions, U training photographs, T words, P image features, A answers.
"""

from collections.abc import Sequence
from typing import Any, Self

import torch
from torch import Tensor

from captioning.answerers.bow import ImgBOW
from captioning.answerers.model import Answers, Training, image_of
from captioning.core.errors import CaptioningError
from captioning.core.features import Features, FeatureSpec
from captioning.core.questions import Questions

AT_ONCE = 32  # questions whose distances from all training questions are in memory together


class KNN(ImgBOW):
    """IMG+BOW in training, which learns the words' vectors; the vote of the nearest training questions otherwise.

    A checkpoint holds the training photographs' features, in half precision, each once.
    """

    photographs: Tensor
    remembered: Tensor
    photo_of: Tensor
    answer_of: Tensor

    def __init__(
        self,
        vocabulary_size: int,
        answers: int,
        features: FeatureSpec,
        *,
        neighbours: int = 31,
        memory: Sequence[int] = (0, 0, 1),
        **common: Any,
    ) -> None:
        """Make the layers, and room for the memory.

        Args:
            vocabulary_size: V, the number of words.
            answers: A, the number of answers.
            features: the shapes of the encoder's features.
            neighbours: K, the number of questions that vote.
            memory: U, N and T of the training split; a checkpoint tells them.
            common: the settings of ``ImgBOW``.
        """
        super().__init__(vocabulary_size, answers, features, **common)
        if neighbours < 1:
            raise CaptioningError(f"answerer.neighbours={neighbours}: take 1 or more.")
        self.neighbours = neighbours
        U, N, T = memory
        self.register_buffer("photographs", torch.zeros(U, features.size(self.image), dtype=torch.half))
        self.register_buffer("remembered", torch.zeros(N, T, dtype=torch.int))
        self.register_buffer("photo_of", torch.zeros(N, dtype=torch.int))
        self.register_buffer("answer_of", torch.zeros(N, dtype=torch.int))
        self.bags: Tensor | None = None  # of the remembered questions, between two trainings

    @property
    def memory(self) -> tuple[int, int, int]:
        """U, N and T."""
        N, T = self.remembered.shape
        return len(self.photographs), N, T

    def begin(self, training: Training) -> None:
        """Remember the training questions and their photographs.

        Raises:
            CaptioningError: the photographs' features are not stored, because the encoder is trained.
        """
        if training.features is None:
            raise CaptioningError(
                "answerer=knn remembers the features of a frozen encoder. Leave encoder.finetune_from out."
            )
        known = (training.answers >= 0).nonzero().flatten()
        photos, places = torch.unique(training.photos[known], return_inverse=True)
        blocks = [image_of(training.features(block.tolist()), self.image).half() for block in torch.split(photos, 1024)]
        questions = Questions.of(
            [training.questions[place] for place in known.tolist()], training.kinds[known].tolist()
        )
        self.photographs, self.remembered = torch.cat(blocks), questions.words.int()
        self.photo_of, self.answer_of = places.int(), training.answers[known].int()

    def train(self, mode: bool = True) -> Self:
        """See ``nn.Module.train``; training changes the words' vectors."""
        self.bags = None
        return super().train(mode)

    def forward(self, features: Features, questions: Questions) -> Answers:
        """The answers: by the learned layer in training, by the neighbours' vote otherwise.

        The probability of an answer is its share of the K votes; of equal shares the one with the nearest neighbour is
        first.
        """
        if self.training:
            return super().forward(features, questions)
        if self.bags is None:
            blocks = torch.split(self.remembered, 1 << 14)
            self.bags = torch.cat([self.embedding(block.long()).sum(1) for block in blocks]).detach()
        bags = self.bags
        own, seen = self.bag(questions), image_of(features, self.image)
        pairs = zip(torch.split(own, AT_ONCE), torch.split(seen, AT_ONCE), strict=True)
        return Answers(torch.cat([self._vote(words, photos, bags) for words, photos in pairs]))

    def _vote(self, words: Tensor, photos: Tensor, bags: Tensor) -> Tensor:
        """``(q, A)``: the logarithms of the votes."""
        distance = _squared(words, bags)
        distance += _squared(photos, self.photographs.to(photos.dtype)).index_select(1, self.photo_of)
        near = distance.topk(min(self.neighbours, distance.shape[1]), largest=False)
        given = self.answer_of.long()[near.indices]  # (q, K), the nearest first
        votes = torch.zeros(len(words), self.answers, dtype=words.dtype, device=words.device)
        votes.scatter_add_(1, given, torch.ones_like(given, dtype=votes.dtype))
        rank = 0.5 / (1.0 + torch.arange(given.shape[1], device=words.device, dtype=votes.dtype))
        first = torch.zeros_like(votes).scatter_reduce(1, given, rank.expand_as(given), "amax")
        return (votes + 0.9 * first + 1e-6).log()


def _squared(one: Tensor, other: Tensor) -> Tensor:
    """``(q, N)``: the squared distances of vectors ``(q, D)`` and ``(N, D)``."""
    return one.square().sum(1, keepdim=True) - 2 * one @ other.T + other.square().sum(1)
