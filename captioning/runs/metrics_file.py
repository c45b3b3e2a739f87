"""Measurements of a run, in one CSV file."""

import csv
import time
from argparse import Namespace
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers.logger import Logger
from pytorch_lightning.utilities import rank_zero_only

from captioning.core.files import atomic_write
from captioning.core.texts import open_text

WHOLE = ("step", "epoch")  # columns that stay integers in a resumed run's file

SECONDS = 10.0  # seconds between two writes of the file


class CSVLogger(Logger):
    """The logger of ``metrics.csv``: one row per logged step, one column per measurement.

    The file is always complete, and a resumed run continues it: rows after the checkpoint are dropped, because they are
    computed again. (Lightning's own logger starts a new file.)
    """

    def __init__(self, save_dir: str | Path) -> None:
        """Take the run's folder."""
        super().__init__()
        self.folder = Path(save_dir)
        self.rows: dict[int, dict[str, Any]] = {}
        self.written = -SECONDS

    @property
    def name(self) -> str:
        """Not used: a run has one folder."""
        return ""

    @property
    def version(self) -> str:
        """Not used: a run has one folder."""
        return ""

    @property
    def path(self) -> Path:
        """The file."""
        return self.folder / "metrics.csv"

    def resume(self, step: int) -> None:
        """Read the file of an interrupted run, up to the step of its checkpoint."""
        self.rows = {int(row["step"]): row for row in read_metrics(self.path) if int(row["step"]) < step}

    @rank_zero_only
    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """Not used: the job writes ``config.yaml``."""

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Add measurements to the step's row."""
        step = max(self.rows, default=0) if step is None else step
        self.rows.setdefault(step, {"step": step}).update(metrics)

    @rank_zero_only
    def save(self) -> None:
        """Write the file at intervals: a write after every row, as Lightning asks for, would take quadratic time."""
        if time.monotonic() - self.written >= SECONDS:
            self.write()

    @rank_zero_only
    def write(self) -> None:
        """Write the file if there are rows: Lightning also calls this before a resumed run has read the old rows."""
        if not self.rows:
            return
        self.written = time.monotonic()
        columns = sorted({name for row in self.rows.values() for name in row} - {"step", "epoch"})
        with atomic_write(self.path) as file:
            writer = csv.DictWriter(file, ["step", "epoch", *columns], lineterminator="\n")
            writer.writeheader()
            writer.writerows(self.rows[step] for step in sorted(self.rows))

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Write the file at the end."""
        self.write()


def read_metrics(path: str | Path) -> list[dict[str, float]]:
    """The rows of a ``metrics.csv``, without empty cells; no rows for a missing file."""
    path = Path(path)
    if not path.exists():
        return []
    with open_text(path, "file of measurements") as file:
        rows = [{name: float(cell) for name, cell in row.items() if cell} for row in csv.DictReader(file)]
    return [{name: int(value) if name in WHOLE else value for name, value in row.items()} for row in rows]
