"""IMG: what the photograph alone tells, with the question's kind (Ren, Kiros & Zemel 2015, section 4.3)."""

import torch
from torch import nn

from captioning.answerers.model import AnswerModel, Answers, Normalised, Training, image_of, measure
from captioning.core.features import Features, FeatureSpec
from captioning.core.questions import KINDS, Questions


class Img(AnswerModel):
    """``softmax(W_k v + b_k)``: a classifier of photographs for each kind k of questions, deaf to their words."""

    def __init__(
        self, vocabulary_size: int, answers: int, features: FeatureSpec, *, image: str = "pooled", dropout: float = 0.0
    ) -> None:
        """Make the classifiers.

        Args:
            vocabulary_size: V, the number of words.
            answers: A, the number of answers.
            features: the shapes of the encoder's features.
            image: the part of the features that is read; of a part with regions the mean.
            dropout: the fraction of the features' numbers that training drops.
        """
        super().__init__(vocabulary_size, answers, features)
        self.reads, self.image = (image,), image
        self.normalised = Normalised(features.size(image))
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(features.size(image), len(KINDS) * answers)
        nn.init.zeros_(self.classifier.weight)
        nn.init.zeros_(self.classifier.bias)

    def begin(self, training: Training) -> None:
        """Measure the features' mean and deviation."""
        measure(self.normalised, self.image, training)

    def forward(self, features: Features, questions: Questions) -> Answers:
        """The answers of the question's kind for the photograph."""
        every = self.classifier(self.dropout(self.normalised(image_of(features, self.image))))
        of_kinds = every.view(-1, len(KINDS), self.answers)
        return Answers(of_kinds[torch.arange(len(of_kinds), device=every.device), questions.kinds])
