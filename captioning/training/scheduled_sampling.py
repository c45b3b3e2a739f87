"""Scheduled sampling (Bengio et al., NIPS 2015, arXiv 1506.03099, section 2.4).

Each function gives the probability, at a step of the optimizer, that an input word is the model's own and not the
caption's: 1 - ε_i, where the paper's ε_i is the probability of the caption's word.
"""

import math

from captioning.core.errors import CaptioningError


def never(step: int) -> float:
    """The probability 0: teacher forcing alone."""
    return 0.0


def linear(step: int, k: float = 1.0, c: float = 1e-5, least: float = 0.75) -> float:
    """``ε_i = max(least, k - c·i)``.

    Args:
        step: i, the optimizer's step, from 0.
        k: ε at the beginning, at most 1.
        c: the decrease of ε per step.
        least: the least ε, the paper's ε without index.

    Raises:
        CaptioningError: ``k`` or ``least`` is no probability, or ``c`` is negative.
    """
    if not (0 <= k <= 1 and 0 <= least <= 1 and 0 <= c <= 1):
        raise CaptioningError(
            f"scheduled_sampling.k={k}, scheduled_sampling.c={c}, scheduled_sampling.least={least}: "
            "take numbers from 0 to 1."
        )
    return 1.0 - max(least, min(1.0, k - c * step))


def exponential(step: int, k: float = 0.9999) -> float:
    """``ε_i = k^i`` with k < 1.

    Raises:
        CaptioningError: ``k`` is not between 0 and 1.
    """
    if not 0 < k <= 1:
        raise CaptioningError(f"scheduled_sampling.k={k}: take a number above 0 and up to 1.")
    return 1.0 - k**step


def inverse_sigmoid(step: int, k: float = 2000.0) -> float:
    """``ε_i = k / (k + exp(i / k))`` with k ≥ 1: ε stays high for about k·ln k steps, then falls.

    Raises:
        CaptioningError: ``k`` is less than 1, or no number.
    """
    if not 1 <= k < math.inf:
        raise CaptioningError(f"scheduled_sampling.k={k}: take a number of 1 or more.")
    odds = step / k - math.log(k)  # ε = σ(-odds), in a form without overflow
    return 1.0 / (1.0 + math.exp(-odds)) if odds > 0 else math.exp(odds) / (1.0 + math.exp(odds))
