"""The report on a sweep: its jobs ranked, and the effect of each setting; written at the end of a sweep, too."""

import logging
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf

from captioning.core.errors import CaptioningError
from captioning.core.ownership import output, require_output
from captioning.jobs.run_report import REPORT, record_of
from captioning.report.page import Effect, SweepRecord, report_html
from captioning.runs.monitor import Monitor
from captioning.runs.sweep_table import job_rows, monitor_of
from captioning.runs.told import overrides_of
from captioning.text.registry import find_tokenizer

log = logging.getLogger(__name__)

DETAILED = 6  # the best jobs, whose curves and captions the report shows


class SweepReport(Callback):
    """A callback that writes the report at the end of a sweep, unless ``report=false``."""

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Write the report; whatever fails is a warning: the jobs and their table are there."""
        if not OmegaConf.select(config, "report", default=False):
            return
        folder = Path(config.hydra.sweep.dir)
        try:
            print(f"report: {write_sweep_report(folder)}")
        except Exception as error:
            log.warning("%s: no report was written (%s).", folder, error)


def write_sweep_report(folder: Path, out: Path | None = None, resamples: int = 1000) -> Path:
    """Write the report on a sweep.

    Args:
        folder: the sweep's folder.
        out: the file to write; by default ``report.html`` in the folder.
        resamples: the number of resamples of the bootstrap.

    Returns:
        The file.

    Raises:
        CaptioningError: no job of the sweep is finished, or a file is damaged.
    """
    out = out or folder / REPORT
    require_output(out)
    rows = job_rows(folder)
    finished = [row for row in rows if row["status"] == "finished"]
    if not finished:
        raise CaptioningError(f"{folder}: no job of this sweep is finished. Let it run to its end.")
    monitor = monitor_of(folder, rows)
    rows.sort(key=monitor.rank)
    best = [str(row["job"]) for row in rows if row["status"] == "finished"][:DETAILED]
    names, shared = names_of({str(row["job"]): overrides_of(folder / str(row["job"])) for row in rows})
    records = [record_of(folder / job, names[job], {}) for job in best]
    tokenizer = find_tokenizer(str(records[0].settings.get("data.tokenizer") or "treebank"))
    swept = {str(row["job"]): swept_of(folder / str(row["job"])) for row in rows}
    notes = [f"In the names of the jobs is left out what all of them have: {', '.join(shared)}."] if shared else []
    page = report_html(
        *(folder.resolve().name, records),
        sweep=sweep_record(rows, swept, monitor, names),
        tokenizer=tokenizer,
        resamples=resamples,
        notes=notes,
    )
    with output(out) as file:
        file.write(page)
    return out


def names_of(overrides: Mapping[str, Sequence[str]]) -> tuple[dict[str, str], list[str]]:
    """The jobs' names without the settings that all jobs have, and those settings; the names as they are if need be.

    Args:
        overrides: the command line of each job, by the job's name; empty where it is unknown.
    """
    known = [each for each in overrides.values() if each]
    shared = [each for each in (known[0] if known else []) if all(each in other for other in known)]
    short: dict[str, str] = {}
    for job in overrides:
        name = job
        for each in shared:
            name = re.sub(rf"(^|,){re.escape(each)}(?=,|$)", "", name).strip(",")
        short[job] = name
    if not all(short.values()) or len(set(short.values())) < len(overrides):
        return {job: job for job in overrides}, []
    return short, [each for each in shared if any(f",{each}," in f",{job}," for job in overrides)]


def swept_of(job: Path) -> dict[str, str]:
    """The overrides of a job, by setting."""
    return {key.lstrip("+~"): value for key, _, value in (each.partition("=") for each in overrides_of(job))}


def sweep_record(
    rows: Sequence[Mapping[str, Any]],
    overrides: Mapping[str, Mapping[str, str]],
    monitor: Monitor,
    shown: Mapping[str, str],
) -> SweepRecord:
    """The table of jobs, and for each setting that differs between them the scores by its values.

    Args:
        rows: the rows of the jobs, best first, see ``job_rows``.
        overrides: the overrides of each job, by the job's name.
        monitor: the measurement that ranks the jobs.
        shown: the names of the jobs on the page, by the jobs' names.
    """
    names = dict.fromkeys(name for each in overrides.values() for name in each)
    swept = [name for name in names if len({each.get(name) for each in overrides.values()}) > 1]
    scores = [name for name in dict.fromkeys(key for row in rows for key in row) if name.startswith("test/")]
    columns = ["job", "status", monitor.key, *scores, "parameters", "seconds"]
    told_rows = [{**row, "job": shown[str(row["job"])]} for row in rows]
    table = [[_cell(name, row.get(name), monitor) for name in columns] for row in told_rows]
    effects = []
    for name in swept:
        by_value: dict[str, list[float]] = {}
        for row in rows:
            value = row.get(monitor.key)
            if isinstance(value, int | float):
                by_value.setdefault(overrides[str(row["job"])].get(name, "–"), []).append(float(value))
        best_first = sorted(by_value.items(), key=lambda item: mean(item[1]), reverse=monitor.measure.higher_is_better)
        told = [
            (value, len(each), *(_cell(monitor.key, of(each), monitor) for of in (mean, min, max)))
            for value, each in best_first
        ]
        if len(told) > 1:
            effects.append(Effect(f"{name}: {monitor.key} of its values", told))  # type: ignore[arg-type]
    return SweepRecord(columns, table, effects)


def _cell(name: str, value: Any, monitor: Monitor) -> str:
    return "" if value is None else monitor.text(name, value, 2) if isinstance(value, float) else str(value)
