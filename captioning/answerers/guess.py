"""GUESS: the most frequent training answer of the question's kind (Ren, Kiros & Zemel 2015, section 4.3)."""

import torch
from torch import Tensor, nn

from captioning.answerers.model import AnswerModel, Answers, Training
from captioning.core.features import Features, FeatureSpec
from captioning.core.questions import KINDS, Questions


class Guess(AnswerModel):
    """The frequencies of the training answers, ``p(a | kind)``: no gradient changes them."""

    counts: Tensor

    def __init__(self, vocabulary_size: int, answers: int, features: FeatureSpec) -> None:
        """Take the sizes, see ``AnswerModel``."""
        super().__init__(vocabulary_size, answers, features)
        self.register_buffer("counts", torch.zeros(len(KINDS), answers))
        self.unused = nn.Parameter(torch.zeros(()))  # a trainer needs a parameter; its gradient is zero

    def begin(self, training: Training) -> None:
        """Count the answers of each kind."""
        self.counts.copy_(counted(training, self.answers))

    def forward(self, features: Features, questions: Questions) -> Answers:
        """The logarithms of the frequencies; an answer that its kind never has comes after all others."""
        return Answers((self.counts[questions.kinds] + 1e-3).log() + 0.0 * self.unused)


def counted(training: Training, answers: int) -> Tensor:
    """``(kinds, A)``: the number of training questions of each kind with each answer."""
    known = training.answers >= 0
    places = training.kinds[known] * answers + training.answers[known]
    return torch.bincount(places, minlength=len(KINDS) * answers).view(len(KINDS), answers).float()
