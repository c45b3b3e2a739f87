"""What training makes small.

Dimensions: M words of a packed batch, V vocabulary.
"""

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from captioning.decoders import Decoder
from captioning.training.chunked import sum_in_chunks

AT_ONCE = 2**23  # logits: 32 MB of single precision


@dataclass(frozen=True)
class WordLoss:
    """The loss of the words of a batch.

    Attributes:
        loss: what is trained on: the mean, see ``CrossEntropy.per``.
        log_likelihood: ``(M,)`` log p of each word to be said, in nats; no gradient goes through it.
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
        total, log_likelihood, _ = self._sum(logits, targets)
        return WordLoss(total / self._count(targets, sequences), log_likelihood.detach())

    def of(self, decoder: Decoder, hidden: Tensor, targets: Tensor, sequences: int = 1) -> WordLoss:
        """The same of what the decoder's word layer reads, ``(M, O)``, with few of its logits at once in training.

        Three copies of the logits in single precision (they, their log-softmax and its gradient) would be the most that
        a training step holds: at M = 14,000 and V = 10,000 more than 1.5 GB.
        """
        if not (torch.is_grad_enabled() and len(hidden)):
            return self(decoder.logits(hidden), targets, sequences)
        total, log_likelihood = sum_in_chunks(
            decoder.logits,
            self._sum_and_gradient,
            hidden,
            targets,
            [parameter for parameter in decoder.parameters() if parameter.requires_grad],
            max(1, AT_ONCE // decoder.word_layer.out_features),
        )
        return WordLoss(total / self._count(targets, sequences), log_likelihood)

    def _sum(self, logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The loss of all words, and log p ``(M,)`` of them and ``(M, V)`` of the whole vocabulary."""
        log_p = F.log_softmax(logits, dim=-1, dtype=torch.promote_types(logits.dtype, torch.float32))
        log_likelihood = log_p.gather(1, targets.unsqueeze(1)).squeeze(1)
        total = -log_likelihood.sum()
        if self.label_smoothing:
            total = (1 - self.label_smoothing) * total - self.label_smoothing * log_p.mean(-1).sum()
        return total, log_likelihood, log_p

    def _sum_and_gradient(self, logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The loss of all words, log p ``(M,)`` of them, and the gradient ``(M, V)``: p less what it should be."""
        total, log_likelihood, log_p = self._sum(logits, targets)
        gradient = log_p.exp_()  # in place: one copy of the logits less
        if self.label_smoothing:
            gradient -= self.label_smoothing / logits.shape[-1]
        gradient.scatter_add_(1, targets.unsqueeze(1), torch.full_like(gradient[:, :1], self.label_smoothing - 1))
        return total, log_likelihood, gradient.to(logits.dtype)

    def _count(self, targets: Tensor, sequences: int) -> int:
        """What the loss is a mean over."""
        return len(targets) if self.per == "word" else sequences
