"""LSTM: a recurrent network reads a question, or any sentence, and what it has read answers.

Ren, Kiros & Zemel 2015, section 4.3, take the last state. A network for each direction is Schuster & Paliwal's (1997);
attention over the states is that of Yang et al. 2016, "Hierarchical Attention Networks for Document Classification",
equations 5 to 7.

Dimensions: Q questions, T words, E embedding, H hidden, S numbers of a word's state (H, or 2 H in both directions).
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from captioning.answerers.model import Answers, EmbeddingModel
from captioning.cells import Cell, Recurrent
from captioning.cells.sequences import read_packed
from captioning.core.errors import CaptioningError
from captioning.core.features import Features, FeatureSpec
from captioning.core.packing import Packing
from captioning.core.questions import Questions
from captioning.core.vocabulary import PAD, UNK
from captioning.decoders.attention import masked_softmax

SUMMARIES = ("last", "mean", "max", "attention")


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
    """What the words alone tell, in their order.

    ::

        h_t = LSTM(e(w_t), h_{t-1})     h'_t = LSTM'(e(w_t), h'_{t+1})     s_t = [h_t; h'_t], or h_t in one direction

        last        u = [h_T; h'_1]
        mean, max   u = the mean, or the maximum, of each number over s_1 … s_T
        attention   u = Σ_t α_t s_t,    α = softmax(vᵀ tanh(W s_t + b))

        softmax(W u + b)
    """

    def __init__(
        self,
        vocabulary_size: int,
        answers: int,
        features: FeatureSpec,
        cell: Callable[..., Cell],
        *,
        bidirectional: bool = False,
        summary: str = "last",
        attention_size: int = 100,
        word_dropout: float = 0.0,
        output_dropout: float = 0.0,
        **common: Any,
    ) -> None:
        """Make the layers.

        Args:
            vocabulary_size: V, the number of words.
            answers: A, the number of answers.
            features: the shapes of the encoder's features.
            cell: a function that makes one recurrent layer.
            bidirectional: whether a second network reads from the last word to the first.
            summary: what answers: the ``last`` state, the ``mean`` or the ``max`` of all states, or ``attention``.
            attention_size: the hidden units of the attention.
            word_dropout: the fraction of words that training replaces by ``<unk>``.
            output_dropout: the fraction of the classifier's inputs that training drops.
            common: the settings of ``RecurrentModel``.
        """
        super().__init__(vocabulary_size, answers, features, cell, **common)
        if summary not in SUMMARIES:
            raise CaptioningError(f"answerer.summary={summary}: take one of {', '.join(SUMMARIES)}.")
        if not 0 <= word_dropout < 1:
            raise CaptioningError(f"answerer.word_dropout={word_dropout}: take a fraction of 0 or more and below 1.")
        self.summary, self.word_dropout = summary, word_dropout
        self.backward_recurrent = None
        if bidirectional:
            self.backward_recurrent = Recurrent(cell, self.embedding_size, self.hidden_size, self.depth)
        size = (1 + bidirectional) * self.hidden_size
        self.attention: nn.Sequential | None = None
        if summary == "attention":
            score = nn.Linear(attention_size, 1, bias=False)
            self.attention = nn.Sequential(nn.Linear(size, attention_size), nn.Tanh(), score)
        self.output_dropout = nn.Dropout(output_dropout)
        self.classifier = nn.Linear(size, answers)

    def forward(self, features: Features, questions: Questions) -> Answers:
        """The answers, from the words alone; ``dropout`` drops numbers of the embedded words.

        With ``attention`` the weights of the words, ``(Q, 1, T)``, come with the answers.
        """
        packing = Packing.of(questions.words.unsqueeze(1))
        x = self.dropout(self.embedding(packing.pack(self._kept(questions.words).unsqueeze(1))))  # (M, E)
        reads = [(packing, *read_packed(self.recurrent, x, packing))]
        if self.backward_recurrent is not None:
            turned = packing.turned()
            reads.append((turned, *read_packed(self.backward_recurrent, x.index_select(0, packing.backwards), turned)))
        if self.summary == "last":
            u, weights = torch.cat([after[:, -1, : self.hidden_size] for *_, after in reads], dim=-1), None
        else:
            states = torch.cat([each.unpack(hidden).squeeze(1) for each, hidden, _ in reads], dim=-1)  # (Q, T, S)
            u, weights = self._summary(states, questions)
        return Answers(self.classifier(self.output_dropout(u)), weights)

    def _summary(self, states: Tensor, questions: Questions) -> tuple[Tensor, Tensor | None]:
        """What answers ``(Q, S)``, from the words' states ``(Q, T, S)``; the words' weights ``(Q, 1, T)``, if any."""
        there = questions.words != PAD
        if self.summary == "mean":
            return states.sum(1) / questions.lengths.unsqueeze(1), None  # states are zero behind an end
        if self.summary == "max":
            return states.masked_fill(~there.unsqueeze(-1), -torch.inf).amax(1), None
        assert self.attention is not None
        weights = masked_softmax(self.attention(states).squeeze(-1), there).unsqueeze(1)
        return (weights @ states).squeeze(1), weights

    def _kept(self, words: Tensor) -> Tensor:
        """The words ``(Q, T)``, in training some of them ``<unk>``."""
        if not self.training or not self.word_dropout:
            return words
        lost = torch.rand(words.shape, device=words.device) < self.word_dropout
        return words.masked_fill(lost & (words != PAD), UNK)
