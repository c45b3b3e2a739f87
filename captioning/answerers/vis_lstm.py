"""VIS+LSTM: the photograph is the question's first word (Ren, Kiros & Zemel 2015, section 3.1)."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from captioning.answerers.lstm import RecurrentModel
from captioning.answerers.model import Answers, Normalised, Training, image_of, measure
from captioning.cells import Cell
from captioning.cells.sequences import read_packed
from captioning.core.features import Features, FeatureSpec
from captioning.core.packing import Packing
from captioning.core.questions import Questions
from captioning.core.vocabulary import START


class VisualWordModel(RecurrentModel):
    """A recurrent model with the photograph, normalised and embedded without a bias, as a word."""

    def __init__(
        self,
        vocabulary_size: int,
        answers: int,
        features: FeatureSpec,
        cell: Callable[..., Cell],
        *,
        image: str = "pooled",
        **common: Any,
    ) -> None:
        """Make the layers.

        Args:
            vocabulary_size: V, the number of words.
            answers: A, the number of answers.
            features: the shapes of the encoder's features.
            cell: a function that makes one recurrent layer.
            image: the part of the features that is read; of a part with regions the mean.
            common: the settings of ``RecurrentModel``.
        """
        super().__init__(vocabulary_size, answers, features, cell, **common)
        self.reads, self.image = (image,), image
        self.normalised = Normalised(features.size(image))
        self.image_word = self.embedded_image(features)

    def embedded_image(self, features: FeatureSpec) -> nn.Linear:
        """A new layer from the photograph's features to a word's vector, of a word's scale."""
        layer = nn.Linear(features.size(self.image), self.embedding_size, bias=False)
        nn.init.normal_(layer.weight, std=0.06 * features.size(self.image) ** -0.5)
        return layer

    def begin(self, training: Training) -> None:
        """Measure the features' mean and deviation."""
        measure(self.normalised, self.image, training)

    def seen(self, features: Features) -> Tensor:
        """``(Q, P)``: the normalised features."""
        seen: Tensor = self.normalised(image_of(features, self.image))
        return seen


class VisLSTM(VisualWordModel):
    """``x_0 = W_v v``, ``x_t = e(w_t)``, ``softmax(W h_T + b)``."""

    def __init__(
        self, vocabulary_size: int, answers: int, features: FeatureSpec, cell: Callable[..., Cell], **common: Any
    ) -> None:
        """Make the layers; ``common`` are the settings of ``VisualWordModel``."""
        super().__init__(vocabulary_size, answers, features, cell, **common)
        self.classifier = nn.Linear(self.hidden_size, answers)

    def forward(self, features: Features, questions: Questions) -> Answers:
        """The answers; ``dropout`` drops numbers of the recurrent layers' inputs."""
        words = F.pad(questions.words, (1, 0), value=START).unsqueeze(1)  # the photograph's place, then the words
        packing = Packing.of(words)
        first = self.image_word(self.seen(features)).index_select(0, packing.captions)
        x = torch.cat([first, self.embedding(packing.pack(words)[len(first) :])])  # (M, E)
        _, after = read_packed(self.recurrent, self.dropout(x), packing)
        return Answers(self.classifier(after[:, -1, : self.hidden_size]))
