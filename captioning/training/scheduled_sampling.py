"""Scheduled sampling (Bengio et al., NIPS 2015, arXiv 1506.03099, section 2.4).

Each function gives the probability, at a step of the optimizer, that an input word is the model's own and not the
caption's: 1 - ε_i, where the paper's ε_i is the probability of the caption's word.
"""

import math


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
    """
    return 1.0 - max(least, min(1.0, k - c * step))


def exponential(step: int, k: float = 0.9999) -> float:
    """``ε_i = k^i`` with k < 1."""
    return 1.0 - k**step


def inverse_sigmoid(step: int, k: float = 2000.0) -> float:
    """``ε_i = k / (k + exp(i / k))`` with k ≥ 1: ε stays high for about k·ln k steps, then falls."""
    odds = step / k - math.log(k)  # ε = σ(-odds), in a form without overflow
    return 1.0 / (1.0 + math.exp(-odds)) if odds > 0 else math.exp(odds) / (1.0 + math.exp(odds))
