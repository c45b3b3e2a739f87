"""Attention over the regions: the question asks, and the regions answer (Yang et al., CVPR 2016, arXiv 1511.02274).

Dimensions: Q questions, L regions, D numbers of a region, H hidden.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from captioning.answerers.lstm import RecurrentModel
from captioning.answerers.model import Answers
from captioning.cells import Cell
from captioning.cells.sequences import last_hidden
from captioning.core.errors import CaptioningError
from captioning.core.features import Features, FeatureSpec
from captioning.core.questions import Questions
from captioning.decoders.attention import AdditiveAttention
from captioning.decoders.regions import find_regions, region_size


class StackedAttention(RecurrentModel):
    """One look at the regions or several, each asked by what the looks before have found (equations 5 and 9 to 20).

    ::

        v_i = tanh(W_I f_i + b_I)                 u_0 = h_T, the state that has read the question
                                                  or, with ``bag``, h_T + W_B Σ_t e(w_t)
        p_k = softmax(w_k tanh(W_k v + W'_k u_{k-1} + b_k))
        u_k = Σ_i p_k,i v_i + u_{k-1}             softmax(W u_K + b)
    """

    def __init__(
        self,
        vocabulary_size: int,
        answers: int,
        features: FeatureSpec,
        cell: Callable[..., Cell],
        *,
        attends: str = "grid",
        attention_size: int = 256,
        looks: int = 2,
        bag: bool = False,
        region_dropout: float = 0.0,
        output_dropout: float = 0.5,
        **common: Any,
    ) -> None:
        """Make the layers.

        Args:
            vocabulary_size: V, the number of words.
            answers: A, the number of answers.
            features: the shapes of the encoder's features.
            cell: a function that makes one recurrent layer.
            attends: the part of the features whose regions are attended to.
            attention_size: the hidden units of the attention.
            looks: K, the number of looks.
            bag: whether the sum of the word vectors asks beside the last state, as in IMG+BOW.
            region_dropout: the fraction of the regions' features that training drops.
            output_dropout: the fraction of the classifier's inputs that training drops.
            common: the settings of ``RecurrentModel``.
        """
        super().__init__(vocabulary_size, answers, features, cell, **common)
        if looks < 1:
            raise CaptioningError(f"answerer.looks={looks}: take 1 look or more.")
        self.reads, self.attends = (attends,), attends
        self.region_layer = nn.Linear(region_size(features, attends), self.hidden_size)
        self.looks = nn.ModuleList(
            AdditiveAttention(self.hidden_size, self.hidden_size, attention_size) for _ in range(looks)
        )
        self.bag_layer = nn.Linear(self.embedding_size, self.hidden_size, bias=False) if bag else None
        self.region_dropout = nn.Dropout(region_dropout)
        self.output_dropout = nn.Dropout(output_dropout)
        self.classifier = nn.Linear(self.hidden_size, answers)

    def forward(self, features: Features, questions: Questions) -> Answers:
        """The answers, and the weights of the regions at each look."""
        grid, mask = find_regions(features, self.attends)
        regions = torch.tanh(self.region_layer(self.region_dropout(grid)))  # (Q, L, H)
        words = self.dropout(self.embedding(questions.words))
        asked = last_hidden(self.recurrent, words, questions.lengths)
        if self.bag_layer is not None:
            asked = asked + self.bag_layer(words.sum(1))
        weights = []
        for look in self.looks:
            assert isinstance(look, AdditiveAttention)
            weights.append(look(look.keys(regions), asked, mask.get("there")))
            asked = asked + (weights[-1].unsqueeze(1) @ regions).squeeze(1)
        return Answers(self.classifier(self.output_dropout(asked)), torch.stack(weights, dim=1))
