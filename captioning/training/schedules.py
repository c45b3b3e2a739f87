"""Learning rate schedules: each gives the fraction of the full learning rate at a step."""

import math


def constant(step: int, steps: int, warmup: int = 0) -> float:
    """A constant rate after a linear rise over ``warmup`` steps."""
    return min(1.0, (step + 1) / (warmup + 1))


def cosine(step: int, steps: int, warmup: int = 0, final: float = 0.0) -> float:
    """Half a cosine from 1 down to ``final`` (Loshchilov & Hutter 2017, arXiv 1608.03983, without restarts).

    Args:
        step: the optimizer's step, from 0.
        steps: the number of steps of the whole run.
        warmup: the number of steps of the linear rise at the beginning.
        final: the fraction at the end.
    """
    if step < warmup:
        return (step + 1) / (warmup + 1)
    done = min(1.0, (step - warmup) / max(1, steps - warmup))
    return final + (1 - final) * 0.5 * (1 + math.cos(math.pi * done))
