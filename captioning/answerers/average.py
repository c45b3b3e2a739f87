"""FULL: the mean of several models' probabilities (Ren, Kiros & Zemel 2015, section 4.3; ``imageqa_modelavg.py``)."""

from collections.abc import Sequence

import torch
from torch import nn

from captioning.answerers.model import AnswerModel, Answers
from captioning.core.features import Features, FeatureSpec
from captioning.core.questions import Questions


class Average(AnswerModel):
    """``P(a) = (1/M) Σ_m P_m(a)`` of M models with the same answers; the paper's are IMG+BOW, VIS+LSTM and 2-VIS+BLSTM.

    Attributes:
        members: the models.
    """

    def __init__(self, members: Sequence[AnswerModel], logarithms: bool = False) -> None:
        """Take the models.

        Args:
            members: the models, with equal vocabularies and answers.
            logarithms: whether to take the mean of log-probabilities instead.
        """
        super().__init__(members[0].vocabulary_size, members[0].answers, FeatureSpec())
        self.members, self.logarithms = nn.ModuleList(members), logarithms
        self.reads = tuple(dict.fromkeys(part for member in members for part in member.reads))

    def forward(self, features: Features, questions: Questions) -> Answers:
        """The answers; the attention is that of the first model that has one."""
        found: list[Answers] = [member(features, questions) for member in self.members]
        logs = torch.stack([each.logits.log_softmax(-1) for each in found])
        mean = logs.mean(0) if self.logarithms else logs.logsumexp(0) - torch.tensor(float(len(found))).log()
        attention = next((each.attention for each in found if each.attention is not None), None)
        return Answers(mean, attention)
