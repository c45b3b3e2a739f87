"""LSTM: a recurrent network reads the question, and its last state answers (Ren, Kiros & Zemel 2015, section 4.3)."""

from collections.abc import Callable
from typing import Any

from torch import nn

from captioning.answerers.model import Answers, EmbeddingModel
from captioning.answerers.sequences import last_hidden
from captioning.cells import Cell, Recurrent
from captioning.core.errors import CaptioningError
from captioning.core.features import Features, FeatureSpec
from captioning.core.questions import Questions


class RecurrentModel(EmbeddingModel):
    """A model whose recurrent layers, of any cell, read the question."""

    def __init__(
        self,
        vocabulary_size: int,
        answers: int,
        features: FeatureSpec,
        cell: Callable[..., Cell],
        *,
        hidden_size: int = 300,
        depth: int = 1,
        **common: Any,
    ) -> None:
        """Make the embedding and the recurrent layers.

        Args:
            vocabulary_size: V, the number of words.
            answers: A, the number of answers.
            features: the shapes of the encoder's features.
            cell: a function that makes one recurrent layer.
            hidden_size: H, the number of hidden units.
            depth: the number of recurrent layers.
            common: the settings of ``EmbeddingModel``.
        """
        super().__init__(vocabulary_size, answers, features, **common)
        if depth < 1:
            raise CaptioningError(f"answerer.depth={depth}: take 1 recurrent layer or more.")
        self.hidden_size, self.depth = hidden_size, depth
        self.recurrent = Recurrent(cell, self.embedding_size, hidden_size, depth)


class LSTMAnswerer(RecurrentModel):
    """``h_t = LSTM(e(w_t), h_{t-1})``, ``softmax(W h_T + b)``: what the words alone tell, in their order."""

    def __init__(
        self, vocabulary_size: int, answers: int, features: FeatureSpec, cell: Callable[..., Cell], **common: Any
    ) -> None:
        """Make the layers; ``common`` are the settings of ``RecurrentModel``."""
        super().__init__(vocabulary_size, answers, features, cell, **common)
        self.classifier = nn.Linear(self.hidden_size, answers)

    def forward(self, features: Features, questions: Questions) -> Answers:
        """The answers, from the words alone; ``dropout`` drops numbers of the embedded words."""
        words = self.dropout(self.embedding(questions.words))
        return Answers(self.classifier(last_hidden(self.recurrent, words, questions.lengths)))
