"""The weighted loss of words, without the logits of all words in memory at once.

Dimensions: M words of a packed batch, O inputs of the output layer, V words of the vocabulary.
"""

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from captioning.decoders import Decoder
from captioning.training.objectives.chunked import sum_in_chunks

AT_ONCE = 2**23  # logits computed at once: 32 MB in single precision


def word_loss(
    decoder: Decoder,
    hidden: Tensor,
    targets: Tensor,
    weights: Tensor | None = None,
    label_smoothing: float = 0.0,
    logits: Callable[[Tensor], Tensor] | None = None,
) -> tuple[Tensor, Tensor]:
    """The weighted sum of the words' negative log-likelihoods; training computes it in chunks of words.

    Three tensors of the logits' size in single precision (logits, log-softmax and its gradient) would dominate the
    memory of a training step: more than 1.5 GB at M = 14,000 and V = 10,000.

    Args:
        decoder: the decoder whose words are predicted.
        hidden: ``(M, O)``, the inputs of the decoder's output layer.
        targets: ``(M,)``, the target words.
        weights: ``(M,)``, the weight of each word's loss, without a gradient; 1 by default.
        label_smoothing: the fraction of the target's probability spread evenly over the vocabulary (Szegedy et al.
            2016, arXiv 1512.00567, section 7).
        logits: a function from inputs ``(m, O)`` to logits ``(m, V)`` by the decoder's parameters; ``decoder.logits``
            by default.

    Returns:
        The sum, and the log-probability ``(M,)`` of each target word in nats, without a gradient.
    """
    logits = logits or decoder.logits
    if not (torch.is_grad_enabled() and len(hidden)):
        total, log_likelihood, _ = _sum(logits(hidden), targets, weights, label_smoothing)
        return total, log_likelihood.detach()
    rows = max(1, AT_ONCE // decoder.word_layer.out_features)
    return sum_in_chunks(
        logits,
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
    """The loss of all words, the targets' log-probabilities ``(M,)``, and those of the whole vocabulary ``(M, V)``."""
    log_p = F.log_softmax(logits, dim=-1, dtype=torch.promote_types(logits.dtype, torch.float32))
    log_likelihood = log_p.gather(1, targets.unsqueeze(1)).squeeze(1)
    losses = -log_likelihood
    if label_smoothing:
        losses = (1 - label_smoothing) * losses - label_smoothing * log_p.mean(-1)
    return (losses if weights is None else weights.detach() * losses).sum(), log_likelihood, log_p


def _sum_and_gradient(
    logits: Tensor, targets: Tensor, weights: Tensor | None, label_smoothing: float
) -> tuple[Tensor, Tensor, Tensor]:
    """The loss of all words, the targets' log-probabilities ``(M,)``, and the gradient ``(M, V)``, p - target."""
    total, log_likelihood, log_p = _sum(logits, targets, weights, label_smoothing)
    gradient = log_p.exp_()  # in place: saves one copy of the logits
    if label_smoothing:
        gradient -= label_smoothing / logits.shape[-1]
    gradient.scatter_add_(1, targets.unsqueeze(1), torch.full_like(gradient[:, :1], label_smoothing - 1))
    if weights is not None:
        gradient *= weights.detach().unsqueeze(1)
    return total, log_likelihood, gradient.to(logits.dtype)
