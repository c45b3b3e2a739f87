"""Speed: the parts of a model in faster forms that compute the same; ``make_fast`` puts them in."""

from captioning.speed.fast import make_fast

__all__ = ["make_fast"]
