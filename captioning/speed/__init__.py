"""Faster forms of a model's parts with the same results, which ``make_fast`` and others put into a model."""

from captioning.speed.convolutions import make_convolutions_fast
from captioning.speed.fast import make_fast

__all__ = ["make_convolutions_fast", "make_fast"]
