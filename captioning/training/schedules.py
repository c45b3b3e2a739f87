"""Learning rates over a run: each gives the share of the full rate at a step."""

import math


def constant(step: int, steps: int, warmup: int = 0) -> float:
    """The full rate, after a linear rise over ``warmup`` steps."""
    return min(1.0, (step + 1) / (warmup + 1))


def cosine(step: int, steps: int, warmup: int = 0, final: float = 0.0) -> float:
    """Half a cosine from 1 down to ``final`` (Loshchilov & Hutter 2017, arXiv 1608.03983, without restarts).

    Args:
        step: of the optimizer, from 0.
        steps: of the whole run.
        warmup: steps of a linear rise before.
        final: the share at the end.
    """
    if step < warmup:
        return (step + 1) / (warmup + 1)
    done = min(1.0, (step - warmup) / max(1, steps - warmup))
    return final + (1 - final) * 0.5 * (1 + math.cos(math.pi * done))
