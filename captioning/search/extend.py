"""The step of beam search: from the live beams to their best extensions.

Dimensions: B images, S live beams of an image, K beams that are kept, V vocabulary, C chunks of the vocabulary.
"""

import torch
from torch import Tensor

from captioning.core.vocabulary import PAD

CHUNK = 128  # words; the two stages cost the least near the square root of the vocabulary's size


def best_extensions(log_probs: Tensor, scores: Tensor, size: int) -> tuple[Tensor, Tensor, Tensor]:
    """The K best of all S·V extensions of an image's beams, best first.

    Among equal scores the better beam comes first, then the lower word number, on every device and in every precision
    (in bfloat16 equal scores are common). ``topk`` leaves the order of equal scores open, and a stable sort of all
    extensions takes seventy times as long. But the K best words lie in the K chunks of the vocabulary with the best
    maxima: after one pass of ``amax`` only K·128 candidates remain.

    Args:
        log_probs: ``(B, S, V)``, the log-probabilities of the next word.
        scores: ``(B, S)``, the log-probabilities of the beams so far; ``-inf`` for a dead one.
        size: the largest number of beams that are kept; K = min(size, S·V).

    Returns:
        Scores, parents (which beam is extended) and tokens (by which word), each ``(B, K)``.
    """
    B, S, V = log_probs.shape
    whole = V // CHUNK
    highest = log_probs[..., : whole * CHUNK].view(B, S, whole, CHUNK).amax(-1)
    if V % CHUNK:
        highest = torch.cat([highest, log_probs[..., whole * CHUNK :].amax(-1, keepdim=True)], dim=-1)
    C = highest.shape[-1]
    chunks = first_best((scores.unsqueeze(-1) + highest).flatten(1), min(size, S * C))
    chunks = chunks.sort(dim=1).values  # (B, ≤K), in the order of their words again
    parents = chunks // C
    tokens = (chunks % C * CHUNK).unsqueeze(-1) + torch.arange(CHUNK, device=log_probs.device)  # (B, ≤K, 128)
    outside = tokens >= V  # behind the last, shorter chunk
    tokens = tokens.masked_fill(outside, PAD)
    places = (parents * V).unsqueeze(-1) + tokens
    words = log_probs.flatten(1).gather(1, places.flatten(1)).view_as(tokens).masked_fill(outside, -torch.inf)
    values = (scores.gather(1, parents).unsqueeze(-1) + words).flatten(1)
    order = first_best(values, min(size, S * V))
    return values.gather(1, order), parents.gather(1, order // CHUNK), tokens.flatten(1).gather(1, order)


def first_best(values: Tensor, size: int) -> Tensor:
    """The indices of the largest values, in the order of a stable descending sort, as fast as ``topk``.

    The bits of a float, read as an integer, rise with the float (for negative floats they fall); the index fills the
    bits below.

    Args:
        values: float32 ``(B, N)``.
        size: K, at most N.

    Returns:
        ``(B, K)``.
    """
    bits = (values + 0.0).view(torch.int32)  # -0.0 becomes 0.0
    rising = bits ^ ((bits >> 31) & 0x7FFFFFFF)
    places = torch.arange(values.shape[1], device=values.device)
    return ((rising.long() << 32) - places).topk(size, dim=1).indices


def block_repeats(log_probs: Tensor, words: Tensor, n: int) -> Tensor:
    """Rule out, in place, the words that would repeat an n-gram (Paulus et al. 2018, arXiv 1705.04304).

    Args:
        log_probs: ``(B, S, V)``, the log-probabilities of the next word.
        words: ``(B, S, T)``, the words of each beam so far.
        n: the length of the n-grams.

    Returns:
        ``log_probs``, with ``-inf`` at those words.
    """
    if words.shape[-1] < n:
        return log_probs
    ngrams = words.unfold(2, n, 1)  # (B, S, T - n + 1, n)
    recent = words[..., words.shape[-1] - n + 1 :].unsqueeze(2)  # (B, S, 1, n - 1)
    repeated = (ngrams[..., :-1] == recent).all(dim=-1)
    return log_probs.scatter_(-1, ngrams[..., -1].where(repeated, PAD), -torch.inf)  # <pad> is never generated anyway
