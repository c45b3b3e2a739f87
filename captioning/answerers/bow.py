"""BOW and IMG+BOW: the sum of the question's word vectors, alone and beside the photograph's features.

Ren, Kiros & Zemel 2015, section 4.3: "a bag-of-words of the question" is the sum of its embedded words; in IMG+BOW the
photograph's features are put beside it, and one softmax layer answers.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from captioning.answerers.model import Answers, EmbeddingModel, image_of
from captioning.core.features import Features, FeatureSpec
from captioning.core.questions import Questions
from captioning.core.vocabulary import PAD


class BOW(EmbeddingModel):
    """``softmax(W Σ_t e(w_t) + b)``: what the words alone tell."""

    def __init__(self, vocabulary_size: int, answers: int, features: FeatureSpec, **common: Any) -> None:
        """Make the layers; ``common`` are the settings of ``EmbeddingModel``."""
        super().__init__(vocabulary_size, answers, features, **common)
        self.classifier = nn.Linear(self.embedding_size, answers)

    def bag(self, questions: Questions) -> Tensor:
        """``(Q, E)``: the sum of the embedded words."""
        # the words without <pad>, not padding_idx, with which torch's function takes several times as long
        lengths = questions.lengths
        words = questions.words[questions.words != PAD]
        return F.embedding_bag(words, self.embedding.weight, lengths.cumsum(0) - lengths, mode="sum")

    def forward(self, features: Features, questions: Questions) -> Answers:
        """The answers, from the words alone; ``dropout`` drops numbers of the sum."""
        return Answers(self.classifier(self.dropout(self.bag(questions))))


class ImgBOW(BOW):
    """``softmax(W [Σ_t e(w_t); v] + b)``, with the photograph's features v as they are (not normalised)."""

    def __init__(
        self, vocabulary_size: int, answers: int, features: FeatureSpec, *, image: str = "pooled", **common: Any
    ) -> None:
        """Make the layers.

        Args:
            vocabulary_size: V, the number of words.
            answers: A, the number of answers.
            features: the shapes of the encoder's features.
            image: the part of the features that is read; of a part with regions the mean.
            common: the settings of ``EmbeddingModel``.
        """
        super().__init__(vocabulary_size, answers, features, **common)
        self.reads, self.image = (image,), image
        self.classifier = nn.Linear(self.embedding_size + features.size(image), answers)

    def forward(self, features: Features, questions: Questions) -> Answers:
        """The answers, from the words and the photograph; ``dropout`` drops numbers of both."""
        both = torch.cat([self.bag(questions), image_of(features, self.image)], dim=-1)
        return Answers(self.classifier(self.dropout(both)))
