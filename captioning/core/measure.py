"""Measures of a model: their names, whether higher is better, and how texts write them."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Measure:
    """A measurement on a split, such as CIDEr (higher is better, written ×100) or a loss.

    Attributes:
        name: the name in tables, logs (``val/NAME``) and ``monitor=NAME``.
        higher_is_better: True if a higher value is better.
        scale: the factor of a value in texts and tables: 100 for a score, 1 for a loss.
        validated: False for a measurement that evaluation alone makes, which can't be a run's monitor.
    """

    name: str
    higher_is_better: bool
    scale: float = 1.0
    validated: bool = True

    def text(self, value: float, digits: int = 1) -> str:
        """The scaled value as text: four decimals for a scale of 1, else ``digits``."""
        return f"{self.scale * value:.{4 if self.scale == 1 else digits}f}"
