"""Confidence intervals and p-values of scores by the bootstrap.

The bootstrap of Koehn, "Statistical Significance Tests for Machine Translation Evaluation" (2004): the images of a
split are resampled many times, with replacement, and each resample is scored. CIDEr keeps the document frequencies of
the whole split.
"""

from collections.abc import Sequence

import numpy as np

from captioning.metrics.ngrams import Floats
from captioning.metrics.scores import Scores

_AT_ONCE = 100  # resamples
_WEIGHTS = 2_000_000  # weights of images in memory at the same time
_DRAWN = 1 << 16  # images that are drawn at once


def bootstrap(systems: Sequence[Scores], resamples: int = 1000, seed: int = 0) -> list[dict[str, Floats]]:
    """The scores of each system on ``resamples`` resampled splits, the same for all systems.

    Args:
        systems: the systems' scores on the same images, in the same order.
        resamples: B, the number of resampled splits.
        seed: the seed of the resampling.

    Returns:
        For each system, ``(B,)`` values by measure name.
    """
    draw, images = np.random.default_rng(seed), len(systems[0])
    parts: list[list[dict[str, Floats]]] = [[] for _ in systems]
    at_once = max(1, min(_AT_ONCE, _WEIGHTS // max(images, 1)))
    for begin in range(0, resamples, at_once):
        count = min(at_once, resamples - begin)
        weights = np.zeros((count, images), np.uint8)  # an image is drawn once on average, and never 256 times
        for times in weights:
            for drawn in range(0, images, _DRAWN):
                np.add.at(times, draw.integers(images, size=min(_DRAWN, images - drawn)), np.uint8(1))
        for part, system in zip(parts, systems, strict=True):
            part.append(system.resampled(weights))
    return [{name: np.concatenate([part[name] for part in each]) for name in each[0]} for each in parts]


def interval(values: Floats, confidence: float = 0.95) -> tuple[float, float]:
    """The percentile interval of bootstrapped values."""
    tail = 50 * (1 - confidence)
    low, high = np.percentile(values, [tail, 100 - tail])
    return float(low), float(high)


def p_value(first: Floats, second: Floats) -> float:
    """The two-sided probability of an equally large difference by chance, from paired bootstrapped values.

    The value is twice the fraction of resampled splits in which the difference changes its sign, with one split added
    on either side: the value is never 0.
    """
    difference = second - first
    turned = min(int((difference <= 0).sum()), int((difference >= 0).sum()))
    return min(1.0, 2 * (turned + 1) / (len(difference) + 1))
