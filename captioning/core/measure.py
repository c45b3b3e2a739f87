"""What a number says of a model: its name, which way is better, and how people write it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Measure:
    """A measurement on a split, such as CIDEr (higher is better, written ×100) or a loss.

    Attributes:
        name: as tables, logs (``val/NAME``) and ``monitor=NAME`` have it.
        higher_is_better: which way is better.
        scale: what people multiply it by when they write it: 100 for a score, 1 for a loss.
    """

    name: str
    higher_is_better: bool = False
    scale: float = 1.0

    def text(self, value: float, digits: int | None = None) -> str:
        """The value for people: one digit of what is multiplied, four of what is not, if not told otherwise."""
        return f"{self.scale * value:.{(4 if self.scale == 1 else 1) if digits is None else digits}f}"
