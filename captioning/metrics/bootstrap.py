"""How far a difference of scores is to be trusted.

The bootstrap of Koehn, "Statistical Significance Tests for Machine Translation Evaluation" (2004): a split is drawn
from its own images again and again, with replacement, and scored each time. The document frequencies of CIDEr stay
those of the whole split.
"""

from collections.abc import Sequence

import numpy as np

from captioning.metrics.ngrams import Floats
from captioning.metrics.scores import Scores

_AT_ONCE = 100


def bootstrap(systems: Sequence[Scores], resamples: int = 1000, seed: int = 0) -> list[dict[str, Floats]]:
    """The scores of each system on ``resamples`` redrawn splits, the same ones for all of them.

    Args:
        systems: scored on the same images, in the same order.
        resamples: B.
        seed: of the draws.

    Returns:
        For each system ``(B,)`` values by the measures' names.
    """
    draw, images = np.random.default_rng(seed), len(systems[0])
    parts: list[list[dict[str, Floats]]] = [[] for _ in systems]
    for begin in range(0, resamples, _AT_ONCE):
        count = min(_AT_ONCE, resamples - begin)
        weights = np.stack([np.bincount(draw.integers(images, size=images), minlength=images) for _ in range(count)])
        for part, system in zip(parts, systems, strict=True):
            part.append(system.resampled(weights.astype(np.float64)))
    return [{name: np.concatenate([part[name] for part in each]) for name in each[0]} for each in parts]


def interval(values: Floats, confidence: float = 0.95) -> tuple[float, float]:
    """The percentile interval of bootstrapped values."""
    tail = 50 * (1 - confidence)
    low, high = np.percentile(values, [tail, 100 - tail])
    return float(low), float(high)


def p_value(first: Floats, second: Floats) -> float:
    """How likely so clear a difference would be by chance, two-sided, from paired bootstrapped values.

    Twice the share of redrawn splits on which the difference turns round, one split more on either side, so that it
    is never 0.
    """
    difference = second - first
    turned = min(int((difference <= 0).sum()), int((difference >= 0).sum()))
    return min(1.0, 2 * (turned + 1) / (len(difference) + 1))
