"""The loss of words, with a weight for each, without ever holding the logits of all of them.

Dimensions: M words of a packed batch, O what the word layer reads, V vocabulary.
"""

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from captioning.decoders import Decoder
from captioning.training.objectives.chunked import sum_in_chunks

AT_ONCE = 2**23  # logits: 32 MB of single precision


def word_loss(
    decoder: Decoder, hidden: Tensor, targets: Tensor, weights: Tensor | None = None, label_smoothing: float = 0.0
) -> tuple[Tensor, Tensor]:
    """The weighted sum of the words' negative log-likelihoods, with few of the logits at once in training.

    Three copies of the logits in single precision (they, their log-softmax and its gradient) would be the most that a
    training step holds: at M = 14,000 and V = 10,000 more than 1.5 GB.

    Args:
        decoder: whose ``logits`` they are.
        hidden: ``(M, O)``, what its word layer reads.
        targets: ``(M,)``, the words to be said.
        weights: ``(M,)``, of each word's loss; no gradient goes through them; 1 for each where not given.
        label_smoothing: the share of the target's probability spread evenly over the vocabulary (Szegedy et al. 2016,
            arXiv 1512.00567, section 7).

    Returns:
        The sum, and log p ``(M,)`` of each word to be said, in nats, through which no gradient goes.
    """
    if not (torch.is_grad_enabled() and len(hidden)):
        total, log_likelihood, _ = _sum(decoder.logits(hidden), targets, weights, label_smoothing)
        return total, log_likelihood.detach()
    rows = max(1, AT_ONCE // decoder.word_layer.out_features)
    return sum_in_chunks(
        decoder.logits,
        partial(_sum_and_gradient, label_smoothing=label_smoothing),
        hidden,
        targets,
        [parameter for parameter in decoder.parameters() if parameter.requires_grad],
        rows,
        weights,
    )


def _sum(
    logits: Tensor, targets: Tensor, weights: Tensor | None, label_smoothing: float
) -> tuple[Tensor, Tensor, Tensor]:
    """The loss of all words, and log p ``(M,)`` of them and ``(M, V)`` of the whole vocabulary."""
    log_p = F.log_softmax(logits, dim=-1, dtype=torch.promote_types(logits.dtype, torch.float32))
    log_likelihood = log_p.gather(1, targets.unsqueeze(1)).squeeze(1)
    losses = -log_likelihood
    if label_smoothing:
        losses = (1 - label_smoothing) * losses - label_smoothing * log_p.mean(-1)
    return (losses if weights is None else weights.detach() * losses).sum(), log_likelihood, log_p


def _sum_and_gradient(
    logits: Tensor, targets: Tensor, weights: Tensor | None, label_smoothing: float
) -> tuple[Tensor, Tensor, Tensor]:
    """The loss of all words, log p ``(M,)`` of them, and the gradient ``(M, V)``: p less what it should be."""
    total, log_likelihood, log_p = _sum(logits, targets, weights, label_smoothing)
    gradient = log_p.exp_()  # in place: one copy of the logits less
    if label_smoothing:
        gradient -= label_smoothing / logits.shape[-1]
    gradient.scatter_add_(1, targets.unsqueeze(1), torch.full_like(gradient[:, :1], label_smoothing - 1))
    if weights is not None:
        gradient *= weights.detach().unsqueeze(1)
    return total, log_likelihood, gradient.to(logits.dtype)
