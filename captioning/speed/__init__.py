"""Faster forms of a model's parts with the same results; ``make_fast`` puts the faster forms into a model."""

from captioning.speed.fast import make_fast

__all__ = ["make_fast"]
