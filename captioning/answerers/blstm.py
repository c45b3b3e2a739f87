"""2-VIS+BLSTM: the photograph is the first and the last word, read in both directions (Ren et al. 2015, 3.2)."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from captioning.answerers.model import Answers
from captioning.answerers.vis_lstm import VisualWordModel
from captioning.cells import Cell, Recurrent
from captioning.cells.sequences import last_hidden
from captioning.core.features import Features, FeatureSpec
from captioning.core.questions import Questions


class TwoVisBLSTM(VisualWordModel):
    """``x = (W_1 v, e(w_1) … e(w_T), W_2 v)``, ``softmax(W [h_end; h'_begin] + b)`` of a network for each direction."""

    def __init__(
        self, vocabulary_size: int, answers: int, features: FeatureSpec, cell: Callable[..., Cell], **common: Any
    ) -> None:
        """Make the layers; ``common`` are the settings of ``VisualWordModel``."""
        super().__init__(vocabulary_size, answers, features, cell, **common)
        self.last_image_word = self.embedded_image(features)
        self.backward_recurrent = Recurrent(cell, self.embedding_size, self.hidden_size, self.depth)
        self.classifier = nn.Linear(2 * self.hidden_size, answers)

    def forward(self, features: Features, questions: Questions) -> Answers:
        """The answers; ``dropout`` drops numbers of the recurrent layers' inputs."""
        seen, lengths = self.seen(features), questions.lengths
        first, last = self.image_word(seen).unsqueeze(1), self.last_image_word(seen).unsqueeze(1)
        x = torch.cat([first, self.embedding(questions.words), torch.zeros_like(last)], dim=1)  # (Q, T + 2, E)
        ends = (torch.arange(x.shape[1], device=lengths.device) == lengths.unsqueeze(1) + 1).unsqueeze(-1)
        x = self.dropout(torch.where(ends, last, x))
        ahead = last_hidden(self.recurrent, x, lengths + 2)
        back = last_hidden(self.backward_recurrent, x, lengths + 2, backwards=True)
        return Answers(self.classifier(torch.cat([ahead, back], dim=-1)))
