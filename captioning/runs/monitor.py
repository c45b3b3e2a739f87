"""The measurement that chooses the best checkpoint, with its direction and its format."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from captioning.core.build import build
from captioning.core.errors import CaptioningError
from captioning.core.measure import Measure

OPTIONAL = {"METEOR": Measure("METEOR", higher_is_better=True, scale=100.0)}  # which evaluation adds where it can
LOSSES = ("nll", "loss")  # the names of validation losses, before any other measurement of which less is better


class Measuring(ABC):
    """A task's measurements on the validation and the test split."""

    @property
    @abstractmethod
    def measures(self) -> Mapping[str, Measure]:
        """The measures by name, as logged (``val/NAME``)."""


@dataclass(frozen=True)
class Monitor:
    """A measurement on the validation split.

    Attributes:
        measure: the monitored measure, with name and direction.
        measures: all measures of the task, for tables.
    """

    measure: Measure
    measures: Mapping[str, Measure]

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> "Monitor":
        """The monitor of a run's configuration.

        Raises:
            CaptioningError: the run's task has no such measurement; the message names all that exist.
        """
        measures = build(config["task"], Measuring, config=config).measures
        return cls.among(measures, config["monitor"])

    @classmethod
    def among(cls, measures: Mapping[str, Measure], name: str) -> "Monitor":
        """The monitor of a name.

        Raises:
            CaptioningError: no measure of the validation split has this name.
        """
        validated = [each for each, measure in measures.items() if measure.validated]
        if name not in validated:
            raise CaptioningError(
                f"monitor={name}: there is no such measurement here. There are {', '.join(validated)}."
            )
        return cls(measures[name], measures)

    @property
    def key(self) -> str:
        """The measurement's name in the logs."""
        return f"val/{self.measure.name}"

    @property
    def mode(self) -> Literal["min", "max"]:
        """The direction of the best value: the least or the greatest."""
        return "max" if self.measure.higher_is_better else "min"

    @property
    def loss_key(self) -> str | None:
        """The name in the logs of the validation loss, which decides between equal scores; None if there is none."""
        losses = [name for name, each in self.measures.items() if each.validated and not each.higher_is_better]
        return next((f"val/{name}" for name in sorted(losses, key=lambda name: name not in LOSSES)), None)

    def rank(self, row: Mapping[str, float | str]) -> float:
        """A sort key of rows in a table: least for the best row; rows without the measurement come last."""
        value = float(row.get(self.key, "nan"))
        return float("inf") if value != value else -value if self.mode == "max" else value

    def best(self, rows: Sequence[Mapping[str, float]]) -> Mapping[str, float]:
        """The best row with the measurement, of equals the one of the least validation loss, then the first.

        Empty if no row has the measurement.
        """
        return min(
            (row for row in rows if self.key in row), key=lambda row: (self.rank(row), self._loss(row)), default={}
        )

    def _loss(self, row: Mapping[str, float]) -> float:
        loss = row.get(self.loss_key or "", float("nan"))
        return float("inf") if loss != loss else loss

    def text(self, name: str, value: float, digits: int = 1) -> str:
        """A value of ``val/NAME`` or ``test/NAME``, formatted for people."""
        short = name.rpartition("/")[2]
        known = self.measures.get(short) or OPTIONAL.get(short) or Measure(name, higher_is_better=False)
        return known.text(value, digits)
