"""IMG+PRIOR: the photograph alone, with how often the question's noun goes with each answer.

Ren, Kiros & Zemel 2015, section 4.3, as in the authors' ``imageqa_visprior.py``: with w the noun that is asked about,
``P(a | w, v) ∝ P(w | a) P(a | v)`` and ``P(w | a) = (n(w, a) / n(a) + δ) / (N δ + 1)``, where n counts training
questions, N is the number of words, and δ is 1e-6 for numbers, 5e-4 for colours and 1 for places. A question about an
object has no such noun, and keeps P(a | v).
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from captioning.answerers.img import Img
from captioning.answerers.model import Answers, Training
from captioning.core.features import Features, FeatureSpec
from captioning.core.questions import KINDS, Questions
from captioning.core.vocabulary import PAD

DELTAS = {"number": 1e-6, "colour": 5e-4, "location": 1.0}
BEFORE = {"number": ("many",), "location": ("the", "a", "an")}  # the noun follows the first of these words


class ImgPrior(Img):
    """IMG in training; its answers are weighted by the prior afterwards."""

    together: Tensor
    alone: Tensor
    markers: Tensor

    def __init__(self, vocabulary_size: int, answers: int, features: FeatureSpec, **common: Any) -> None:
        """Make the classifiers, and the counts; ``common`` are the settings of ``Img``."""
        super().__init__(vocabulary_size, answers, features, **common)
        self.register_buffer("together", torch.zeros(vocabulary_size, answers))  # n(w, a)
        self.register_buffer("alone", torch.zeros(answers))  # n(a)
        self.register_buffer("markers", torch.zeros(len(KINDS), vocabulary_size, dtype=torch.bool))

    def begin(self, training: Training) -> None:
        """Count the nouns of the training questions with their answers."""
        super().begin(training)
        for kind, words in BEFORE.items():
            for number, word in enumerate(training.words):
                self.markers[KINDS.index(kind), number] = word in words
        known = (training.answers >= 0).nonzero().flatten().tolist()
        questions = Questions.of([training.questions[place] for place in known], training.kinds[known].tolist())
        nouns, answers = self.nouns(questions), training.answers[known]
        asked = nouns >= 0
        ones = torch.ones(int(asked.sum()))
        self.together.index_put_((nouns[asked], answers[asked]), ones, accumulate=True)
        self.alone.index_put_((answers[asked],), ones, accumulate=True)

    def nouns(self, questions: Questions) -> Tensor:
        """``(Q,)``: the word that stands for what is asked about; -1 for a question without one.

        Of a number the word after "how many", of a colour the last word, of a place the word after the first article.
        """
        words, kinds = questions.words, questions.kinds
        last = words.gather(1, (questions.lengths - 1).clamp_min(0).unsqueeze(1)).squeeze(1)
        marked = self.markers[kinds].gather(1, words)  # (Q, T)
        follows = torch.where(marked.any(1), marked.int().argmax(1) + 1, -1)
        beyond = (follows < 0) | (follows >= questions.lengths)
        after = words.gather(1, follows.clamp(0, words.shape[1] - 1).unsqueeze(1)).squeeze(1)
        found = torch.where(beyond, -1, after)
        found = torch.where(kinds == KINDS.index("colour"), last, found)
        named = torch.zeros_like(kinds, dtype=torch.bool)
        for kind in DELTAS:
            named |= kinds == KINDS.index(kind)
        return torch.where(named & (found != PAD), found, -1)

    def log_prior(self, questions: Questions) -> Tensor:
        """``(Q, A)``: log P(w | a), zero for a question without a noun."""
        nouns = self.nouns(questions)
        deltas: Sequence[float] = [DELTAS.get(kind, 1.0) for kind in KINDS]
        delta = torch.tensor(deltas, device=nouns.device)[questions.kinds].unsqueeze(1)
        share = self.together[nouns.clamp_min(0)] / self.alone.clamp_min(1.0)
        prior = ((share + delta) / (self.vocabulary_size * delta + 1.0)).log()
        return torch.where((nouns >= 0).unsqueeze(1), prior, 0.0)

    def forward(self, features: Features, questions: Questions) -> Answers:
        """The answers: of the photograph alone in training, with the prior otherwise."""
        logits = super().forward(features, questions).logits
        return Answers(logits if self.training else logits.log_softmax(-1) + self.log_prior(questions))
