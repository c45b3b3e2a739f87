"""Attention over the regions: the question asks, and the regions answer (Yang et al., CVPR 2016, arXiv 1511.02274).

Dimensions: Q questions, L regions, D numbers of a region, H hidden.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from captioning.answerers.lstm import RecurrentModel
from captioning.answerers.model import Answers
from captioning.cells import Cell
from captioning.cells.sequences import last_hidden
from captioning.core.errors import CaptioningError
from captioning.core.features import Features, FeatureSpec
from captioning.core.questions import Questions
from captioning.decoders.attention import AdditiveAttention
from captioning.decoders.regions import find_regions, region_size

CLOSED = -3.0  # a gate's initial bias: all regions of a map together count as a few
SHARPNESS = 4.0  # of the gates; with √H = 16 (and half the rate, without the bag of words) they did not learn to count


class StackedAttention(RecurrentModel):
    """One look at the regions or several, each asked by what the looks before have found (equations 5 and 9 to 20).

    ::

        v_i = tanh(W_I f_i + b_I)                 u_0 = h_T, the state that has read the question
                                                  or, with ``bag``, h_T + W_B Σ_t e(w_t)
        p_k = softmax(w_k tanh(W_k v + W'_k u_{k-1} + b_k))
        u_k = Σ_i p_k,i v_i + u_{k-1}             softmax(W u_K + b)

    Weights whose sum is 1 average the regions, so that two balls look like one (Zhang, Hare & Prügel-Bennett 2018,
    arXiv 1802.05766). With ``counts`` the classifier reads ``u_K + c`` with the sum c of ``GatedSum``.
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
        counts: bool = False,
        places: bool = False,
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
            counts: whether a sum over regions answers beside the looks.
            places: whether the row and the column of a region, each from -1 to 1, are two more of its numbers f_i.
            region_dropout: the fraction of the regions' features that training drops.
            output_dropout: the fraction of the classifier's inputs that training drops.
            common: the settings of ``RecurrentModel``.
        """
        super().__init__(vocabulary_size, answers, features, cell, **common)
        if looks < 1:
            raise CaptioningError(f"answerer.looks={looks}: take 1 look or more.")
        if places and len(features[attends]) != 3:
            raise CaptioningError(f"answerer.places=true: the regions of {attends} have no rows and columns.")
        self.reads, self.attends = (attends,), attends
        self.layout = features.layout(attends)
        self.region_layer = nn.Linear(region_size(features, attends), self.hidden_size)
        self.place_layer = nn.Linear(2, self.hidden_size, bias=False) if places else None
        self.looks = nn.ModuleList(
            AdditiveAttention(self.hidden_size, self.hidden_size, attention_size) for _ in range(looks)
        )
        self.bag_layer = nn.Linear(self.embedding_size, self.hidden_size, bias=False) if bag else None
        self.sum = GatedSum(self.hidden_size) if counts else None
        self.region_dropout = nn.Dropout(region_dropout)
        self.output_dropout = nn.Dropout(output_dropout)
        self.classifier = nn.Linear(self.hidden_size, answers)

    def forward(self, features: Features, questions: Questions) -> Answers:
        """The answers, and the weights of the regions at each look."""
        grid, mask = find_regions(features, self.attends)
        there, f = mask.get("there"), self.region_layer(self.region_dropout(grid))
        if self.place_layer is not None:
            f = f + self.place_layer(places_of(*self.layout, grid.device))
        regions = torch.tanh(f)  # (Q, L, H)
        words = self.dropout(self.embedding(questions.words))
        asked = last_hidden(self.recurrent, words, questions.lengths)
        if self.bag_layer is not None:
            asked = asked + self.bag_layer(words.sum(1))
        count = None if self.sum is None else self.sum(regions, asked, there)
        weights = []
        for look in self.looks:
            assert isinstance(look, AdditiveAttention)
            weights.append(look(look.keys(regions), asked, there))
            asked = asked + (weights[-1].unsqueeze(1) @ regions).squeeze(1)
        found = asked if count is None else asked + count
        return Answers(self.classifier(self.output_dropout(found)), torch.stack(weights, dim=1))


class GatedSum(nn.Module):
    """A sum over the regions that the question asks for, which grows with their number.

    ::

        g_i = σ(v_iᵀ W u / 4 + b)                 c = W_c Σ_i g_i v_i + b_c

    As in Zhang, Hare & Prügel-Bennett 2018 (arXiv 1802.05766), a gate for each region takes the place of a softmax over
    all of them. Their regions are boxes, whose overlaps are taken out of the count; here the gates learn which one of a
    thing's regions counts.
    """

    def __init__(self, size: int) -> None:
        """Make the layers.

        Args:
            size: H, the numbers of a region, of the query and of the sum.
        """
        super().__init__()
        self.query = nn.Linear(size, size, bias=False)
        self.bias = nn.Parameter(torch.tensor([CLOSED]))
        self.out = nn.Linear(size, size)

    def forward(self, regions: Tensor, query: Tensor, there: Tensor | None = None) -> Tensor:
        """The sum c.

        Args:
            regions: ``(Q, L, H)``.
            query: ``(Q, H)``.
            there: ``(Q, L)``, True for the regions that an image has; None if every image has all L.

        Returns:
            ``(Q, H)``.
        """
        asked = self.query(query).unsqueeze(1) / SHARPNESS  # (Q, 1, H)
        gates = (asked @ regions.mT + self.bias).sigmoid()  # (Q, 1, L)
        if there is not None:
            gates = gates.masked_fill(~there.unsqueeze(1), 0.0)
        total: Tensor = self.out((gates.to(regions.dtype) @ regions).squeeze(1))
        return total


def places_of(rows: int, columns: int, device: torch.device | None = None) -> Tensor:
    """The row and the column of each region of a map, from -1 to 1: ``(L, 2)``."""
    ends = (torch.linspace(-1, 1, size, device=device) for size in (rows, columns))
    return torch.cartesian_prod(*ends)
