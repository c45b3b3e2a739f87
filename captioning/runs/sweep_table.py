"""The start of a sweep and the table at its end."""

import csv
import os
import shutil
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

from hydra.core.utils import JobReturn, JobStatus
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf

from captioning.core.errors import CaptioningError
from captioning.core.files import atomic_write, read_json, write_json
from captioning.core.ownership import is_ours
from captioning.runs.earlier import upgraded
from captioning.runs.folder import RunFolder
from captioning.runs.folds import mean_rows
from captioning.runs.monitor import Monitor
from captioning.runs.sweep_folders import claim_folder, plan

_sweep: "SweepTable | None" = None  # the sweep that this process runs


class SweepTable(Callback):
    """A callback that lists the jobs of a sweep's folder, best first, in ``table.csv`` and on the terminal.

    The table lists the content of the folder: a sweep has one table, also after an interruption or with jobs on several
    machines. Failed jobs are named, and a job with an empty folder is listed as failed.
    """

    def __init__(self) -> None:
        """Start without jobs."""
        self.jobs: set[str] = set()
        self.failed: set[str] = set()
        self.folder: Path | None = None
        self.failures = Path()  # a folder with a file for each failed job, shared with jobs in other processes

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Give each job its own folder, and claim the sweep's folder; exit with status 1 on an error."""
        with _exit_on_error():
            self.jobs.update(plan(config) or [])
            self.folder = Path(config.hydra.sweep.dir).absolute()
            self.failures = self.folder / f".failed-{uuid4().hex[:8]}"
            claim_folder(Path(config.hydra.sweep.dir))
        global _sweep
        _sweep = self

    def on_job_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Record a job, if the launcher runs jobs in this process; works with any sweeper."""
        if self.folder:
            self.jobs.add(_name(config, self.folder))

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **kwargs: Any) -> None:
        """Record a failed job in a file: the job may run in another process, with a copy of this object."""
        if self.folder and (job_return.status != JobStatus.COMPLETED or job_return.return_value is None):
            name = _name(config, self.folder)
            self.failed.add(name)
            write_json(self.failures / f"{uuid4().hex}.json", name)

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Write the table; exit with status 1 if a job failed."""
        global _sweep
        _sweep = None
        with _exit_on_error():
            folder = Path(config.hydra.sweep.dir)
            failed = sorted(self.failed.union(read_json(file) for file in self.failures.glob("*.json")))
            shutil.rmtree(self.failures, ignore_errors=True)
            rows = job_rows(folder)
            rows += [
                {"job": name, "status": "failed"} for name in failed if not any(row["job"] == name for row in rows)
            ]
            if rows:
                self._write_table(folder, rows, monitor_of(folder, rows, config), failed)
            told = [name for name in failed if RunFolder(folder / name).failure.exists()]
            refused = [name for name in failed if name not in told]
            if told:
                print(f"{len(told)} failed, see failed.txt in their folders: {', '.join(told)}", file=sys.stderr)
            if refused:
                print(
                    f"{len(refused)} failed before they could write to their folders, which hold other runs or are in "
                    f"use: {', '.join(refused)}",
                    file=sys.stderr,
                )
            if failed:
                sys.exit(1)

    def _write_table(self, folder: Path, rows: list[dict[str, Any]], monitor: Monitor, failed: list[str]) -> None:
        """Write the table, print its main columns and name the best job of this sweep.

        The jobs of a cross-validation are followed by the means over their folds.
        """
        rows.sort(key=monitor.rank)
        own = [row for row in rows if not self.jobs or row["job"] in self.jobs]  # the folder may hold older jobs
        best = next((row for row in own if row["job"] not in failed), None)
        rows += sorted(mean_rows(folder, rows), key=monitor.rank)
        columns = list(dict.fromkeys(column for row in rows for column in row))
        with atomic_write(folder / "table.csv") as file:
            writer = csv.DictWriter(file, columns, lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
        scores = [column for column in columns if column.startswith("test/")]
        print(_as_text(rows, monitor, ["job", "status", monitor.key, *scores, "parameters", "seconds"]))
        if best and best["status"] == "finished":
            print(f"best job by {monitor.key}: {folder / str(best['job'])}")
        print(f"table: {folder / 'table.csv'}")


def unfinished_jobs() -> str:
    """The sentence on the jobs that are left of a sweep which a signal has ended; empty without a sweep."""
    sweep = _sweep
    if sweep is None or sweep.folder is None:
        return ""
    shutil.rmtree(sweep.failures, ignore_errors=True)
    left = [name for name in sorted(sweep.jobs) if not RunFolder(sweep.folder / name).finished]
    return (
        f"{sweep.folder}: {len(left)} of the sweep's {len(sweep.jobs)} jobs are left: {', '.join(left)}. The same "
        "command goes on with them."
    )


def job_rows(folder: Path) -> list[dict[str, Any]]:
    """A row for each job inside a sweep's folder: name, status, scores, and the error of a failed job.

    A finished job stays finished if a later attempt fails, such as an attempt to score the test split: the job's result
    counts, and the row has the later attempt's error. A job that is trained anew first loses its ``summary.json``.
    """
    rows: list[dict[str, Any]] = []
    for run in _runs(folder):
        row: dict[str, Any] = {"job": run.folder.relative_to(folder).as_posix(), "status": "unfinished"}
        if run.finished:
            row |= {"status": "finished", **run.read_summary()}
        elif run.failure.exists():
            row["status"] = "failed"
        if run.failure.exists():
            row["error"] = next(iter(run.failure.read_text("utf-8").splitlines()), "")
        rows.append(row)
    return rows


def _runs(folder: Path) -> Iterator[RunFolder]:
    """The runs inside a sweep's folder, except runs of another sweep in a subfolder."""
    for place, folders, files in os.walk(folder):
        if place != str(folder) and ("config.yaml" in files or "failed.txt" in files):
            yield RunFolder(place)
            folders.clear()
        folders[:] = [name for name in sorted(folders) if name[0] != "." and not is_ours(Path(place, name), "sweep")]


def _name(config: DictConfig, folder: Path) -> str:
    """A job's folder, relative to the sweep's folder."""
    return Path(os.path.relpath(config.hydra.runtime.output_dir, folder)).as_posix()


@contextmanager
def _exit_on_error() -> Iterator[None]:
    """Exit on an error, where Hydra would only warn and continue."""
    try:
        yield
    except CaptioningError as error:
        print(f"captioning: error: {error}", file=sys.stderr)
        sys.exit(1)
    except Exception:
        traceback.print_exc()
        sys.exit(1)


def monitor_of(folder: Path, rows: list[dict[str, Any]], config: DictConfig | None = None) -> Monitor:
    """The measurement that ranks the jobs of a sweep: that of a finished job.

    Args:
        folder: the sweep's folder.
        rows: the rows of its jobs.
        config: the sweep's configuration, for a sweep without a finished job.
    """
    found = _of_a_job(folder, rows)
    if not found and config is not None:
        found = _plain(config)
    return Monitor.of(found or {})


def _of_a_job(folder: Path, rows: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The resolved configuration of a finished job; None if there is none."""
    finished = next((row for row in rows if row.get("status") == "finished"), None)
    if finished is None:
        return None
    found: Any = OmegaConf.to_container(OmegaConf.load(RunFolder(folder / str(finished["job"])).config))
    return upgraded(found)


def _plain(config: DictConfig) -> dict[str, Any]:
    """The resolved settings that a sweep's task is built from; other parts can only be resolved in a job."""
    groups = {key: OmegaConf.to_container(config[key], resolve=True) for key in ("task", "metrics")}
    return {**groups, "monitor": config.monitor}


def _as_text(rows: list[dict[str, Any]], monitor: Monitor, columns: list[str]) -> str:
    """The columns in equal width, with formatted scores."""

    def cell(column: str, value: Any) -> str:
        return monitor.text(column, value, 2) if isinstance(value, float) else str("" if value is None else value)

    lines = [columns] + [[cell(column, row.get(column)) for column in columns] for row in rows]
    widths = [max(len(line[index]) for line in lines) for index in range(len(columns))]
    return "\n".join("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)) for line in lines)
