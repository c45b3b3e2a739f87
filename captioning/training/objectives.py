"""What training makes small.

Dimensions: M words of a packed batch, V vocabulary.
"""

from dataclasses import dataclass
from typing import Literal

import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class WordLoss:
    """The loss of the words of a batch.

    Attributes:
        loss: what is trained on: the mean, see ``CrossEntropy.per``.
        log_likelihood: ``(M,)`` log p of each word to be said, in nats.
    """

    loss: Tensor
    log_likelihood: Tensor


@dataclass(frozen=True)
class CrossEntropy:
    """The negative log-likelihood of the words (Vinyals et al. 2015, arXiv 1411.4555, equation 12).

    Attributes:
        per: the mean over all words, or over sequences (captions, streams of a text) of the sum over their words.
        label_smoothing: the share of the target's probability spread evenly over the vocabulary (Szegedy et al. 2016,
            arXiv 1512.00567, section 7).
    """

    label_smoothing: float = 0.0
    per: Literal["word", "sequence"] = "word"

    def __call__(self, logits: Tensor, targets: Tensor, sequences: int = 1) -> WordLoss:
        """The loss of logits ``(M, V)`` against the words ``(M,)`` of so many sequences."""
        log_p = F.log_softmax(logits.float(), dim=-1)
        log_likelihood = log_p.gather(1, targets.unsqueeze(1)).squeeze(1)
        loss = -log_likelihood.mean()
        if self.label_smoothing:
            loss = (1 - self.label_smoothing) * loss - self.label_smoothing * log_p.mean()
        if self.per == "sequence":
            loss = loss * (len(targets) / sequences)
        return WordLoss(loss, log_likelihood)
