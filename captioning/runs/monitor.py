"""The measurement that chooses the best checkpoint: which way it gets better, and how it is written."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from captioning.metrics import NAMES


@dataclass(frozen=True)
class Monitor:
    """A measurement on the validation split: a score of captions is to rise, whatever else (a loss) is to fall.

    Attributes:
        name: such as ``CIDEr`` or ``loss``.
    """

    name: str

    @property
    def key(self) -> str:
        """Its name in the logs."""
        return f"val/{self.name}"

    @property
    def mode(self) -> Literal["min", "max"]:
        """Whether the least or the greatest is the best."""
        return "max" if self.name in NAMES else "min"

    def rank(self, row: Mapping[str, float | str]) -> float:
        """A row's place in a table: the best has the least, rows without this measurement come last."""
        value = float(row.get(self.key, "nan"))
        return float("inf") if value != value else -value if self.mode == "max" else value

    def best(self, rows: Sequence[Mapping[str, float]]) -> Mapping[str, float]:
        """The best row of those that have it, the first one among equals; empty where none has."""
        return min((row for row in rows if self.key in row), key=self.rank, default={})


def as_text(name: str, value: float, digits: int = 1) -> str:
    """A measurement for people: scores of captions ×100, losses as they are."""
    score = name.rpartition("/")[2] in NAMES
    return f"{100 * value:.{digits}f}" if score else f"{value:.4f}"
