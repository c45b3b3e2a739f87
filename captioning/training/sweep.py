"""The table at the end of a sweep."""

import csv
import logging
import sys
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from captioning.core.files import atomic_write, read_json
from captioning.training.monitor import Monitor, as_text
from captioning.training.runs import RunFolder

log = logging.getLogger(__name__)


class SweepTable(Callback):
    """Lists all jobs of a sweep's folder, best first, in ``table.csv`` and on the terminal; failed ones are named.

    The folder is what counts, so that a sweep that was interrupted and run again, or whose jobs ran on other machines,
    has one table.
    """

    def __init__(self) -> None:
        """Begin with no job."""
        self.jobs: set[str] = set()

    def on_job_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Remember a job of this sweep (known where the launcher runs jobs in this process)."""
        self.jobs.add(Path(config.hydra.runtime.output_dir).name)

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Write the table; the exit status is 1 when a job failed."""
        folder = Path(config.hydra.sweep.dir)
        rows = job_rows(folder)
        if not rows:
            return
        monitor = Monitor(config.monitor)
        rows.sort(key=monitor.rank)
        columns = list(dict.fromkeys(column for row in rows for column in row))
        with atomic_write(folder / "table.csv") as file:
            writer = csv.DictWriter(file, columns, lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
        scores = [column for column in columns if column.startswith("test/")]
        print(_as_text(rows, ["job", "status", monitor.key, *scores, "parameters", "seconds"]))
        own = [row for row in rows if not self.jobs or row["job"] in self.jobs]  # the folder may hold older jobs
        if own and own[0]["status"] == "finished":
            print(f"best job by {monitor.key}: {folder / str(own[0]['job'])}")
        print(f"table: {folder / 'table.csv'}")
        failed = [row["job"] for row in own if row["status"] == "failed"]
        if failed:
            print(
                f"{len(failed)} failed, see failed.txt in their folders: {', '.join(map(str, failed))}", file=sys.stderr
            )
            sys.exit(1)


def job_rows(folder: Path) -> list[dict[str, Any]]:
    """A row for each job below a sweep's folder: its name, its status, its scores."""
    rows: list[dict[str, Any]] = []
    for config in sorted(folder.glob("*/config.yaml")) + sorted(folder.glob("*/failed.txt")):
        run = RunFolder(config.parent)
        name = run.folder.name
        if any(row["job"] == name for row in rows):
            continue
        if run.failure.exists():
            rows.append({"job": name, "status": "failed", "error": run.failure.read_text("utf-8").splitlines()[0]})
        elif run.finished:
            rows.append({"job": name, "status": "finished", **read_json(run.summary_file)})
        else:
            rows.append({"job": name, "status": "unfinished"})
    return rows


def _as_text(rows: list[dict[str, Any]], columns: list[str]) -> str:
    """Columns of equal width; scores ×100."""

    def cell(column: str, value: Any) -> str:
        return as_text(column, value, 2) if isinstance(value, float) else str("" if value is None else value)

    lines = [columns] + [[cell(column, row.get(column)) for column in columns] for row in rows]
    widths = [max(len(line[index]) for line in lines) for index in range(len(columns))]
    return "\n".join("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)) for line in lines)
