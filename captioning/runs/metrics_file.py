"""Measurements of a run, in one CSV file."""

import csv
import time
from argparse import Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers.logger import Logger
from pytorch_lightning.utilities import rank_zero_only

from captioning.core.errors import CaptioningError
from captioning.core.files import atomic_write
from captioning.core.regular import require_regular
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

    def resume(self, step: int, validations: Sequence[Mapping[str, float]] | None = None) -> None:
        """Read the file of an interrupted run, up to the step of its checkpoint.

        Args:
            step: the number of steps done.
            validations: the measurements of each validation up to then, by name; None if they are not known.

        Raises:
            CaptioningError: the file is damaged, or does not hold these measurements.
        """
        rows = {int(row["step"]): row for row in read_metrics(self.path) if row["step"] < step}
        if validations is not None:
            _compare(self.path, list(rows.values()), validations)
        self.rows = rows

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
    """The rows of a ``metrics.csv``, without empty cells; no rows for a missing file.

    Raises:
        CaptioningError: the file can't be read, or is damaged; the message names the line.
    """
    path = Path(path)
    if not path.exists():
        return []
    require_regular(path, "file of measurements")
    rows: list[dict[str, float]] = []
    with open_text(path, "file of measurements") as file:
        lines = csv.reader(file, strict=True)
        try:
            columns = next(lines, [])
            if "step" not in columns or "" in columns or len({*columns}) != len(columns):
                raise ValueError("its columns are not those of a run")
            rows.extend(_row(columns, cells) for cells in lines)
            if [row["step"] for row in rows] != sorted({row["step"] for row in rows}):
                raise ValueError("its steps do not rise")
        except UnicodeDecodeError:
            raise  # ``open_text`` names the encoding
        except (ValueError, OverflowError, csv.Error) as error:
            raise CaptioningError(
                f"{path}, line {max(1, lines.line_num)}: this is not what the run has written there ({error}). Bring "
                "the file back, or begin anew with resume=false."
            ) from error
    return rows


def _row(columns: Sequence[str], cells: Sequence[str]) -> dict[str, float]:
    """A row by the columns' names.

    Raises:
        ValueError: a cell is missing or no number.
    """
    if len(cells) != len(columns):
        raise ValueError(f"{len(cells)} cells in {len(columns)} columns")
    row = {name: float(cell) for name, cell in zip(columns, cells, strict=True) if cell}
    if "step" not in row:
        raise ValueError("a row without a step")
    whole = {name: int(value) for name, value in row.items() if name in WHOLE}
    if any(whole[name] != row[name] or whole[name] < 0 for name in whole):
        raise ValueError("a step or epoch that is no whole number")
    return {**row, **whole}


def _compare(path: Path, rows: Sequence[Mapping[str, float]], validations: Sequence[Mapping[str, float]]) -> None:
    """Compare the rows of validations with the measurements in a checkpoint.

    Raises:
        CaptioningError: a row is missing, or has another value.
    """
    names = {name for validation in validations for name in validation}
    logged = [row for row in rows if names & row.keys()]
    same = len(logged) == len(validations) and all(
        row[name] == value or (value != value and row[name] != row[name])  # NaN
        for row, validation in zip(logged, validations, strict=True)
        for name, value in validation.items()
        if name in row
    )
    if not same:
        raise CaptioningError(
            f"{path}: this is not what the run has written there: its last checkpoint knows {len(validations)} "
            f"validations, and the file has {len(logged)}, or other values. Bring the file back, or begin anew with "
            "resume=false."
        )
