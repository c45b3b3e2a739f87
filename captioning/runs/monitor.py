"""The measurement that chooses the best checkpoint: which way it gets better, and how it is written."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from captioning.core.build import build
from captioning.core.errors import CaptioningError
from captioning.core.measure import Measure


class Measuring(ABC):
    """What says which measurements it takes on the validation and the test split: a task."""

    @property
    @abstractmethod
    def measures(self) -> Mapping[str, Measure]:
        """By name, as logged (``val/NAME``)."""


@dataclass(frozen=True)
class Monitor:
    """A measurement on the validation split.

    Attributes:
        measure: its name, and which way is better.
        measures: all that the task measures, for tables.
    """

    measure: Measure
    measures: Mapping[str, Measure]

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> "Monitor":
        """The one that a run's configuration names.

        Raises:
            CaptioningError: its task has no such measurement; those that it has are named.
        """
        measures = build(config["task"], Measuring, config=config).measures
        return cls.among(measures, config["monitor"])

    @classmethod
    def among(cls, measures: Mapping[str, Measure], name: str) -> "Monitor":
        """The one of that name.

        Raises:
            CaptioningError: there is none.
        """
        if name not in measures:
            raise CaptioningError(
                f"monitor={name}: there is no such measurement here. There are {', '.join(measures)}."
            )
        return cls(measures[name], measures)

    @property
    def key(self) -> str:
        """Its name in the logs."""
        return f"val/{self.measure.name}"

    @property
    def mode(self) -> Literal["min", "max"]:
        """Whether the least or the greatest is the best."""
        return "max" if self.measure.higher_is_better else "min"

    def rank(self, row: Mapping[str, float | str]) -> float:
        """A row's place in a table: the best has the least, rows without this measurement come last."""
        value = float(row.get(self.key, "nan"))
        return float("inf") if value != value else -value if self.mode == "max" else value

    def best(self, rows: Sequence[Mapping[str, float]]) -> Mapping[str, float]:
        """The best row of those that have it, the first one among equals; empty where none has."""
        return min((row for row in rows if self.key in row), key=self.rank, default={})

    def text(self, name: str, value: float, digits: int | None = None) -> str:
        """A value of ``val/NAME`` or ``test/NAME`` for people."""
        measure = self.measures.get(name.rpartition("/")[2], Measure(name))
        return measure.text(value, digits if measure.scale != 1 else None)
