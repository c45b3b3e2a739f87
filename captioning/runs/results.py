"""Rows of a table of results (``data/results/*.csv``): one for each scored run, and for each scored ensemble."""

import csv
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any

from captioning.core.errors import CaptioningError
from captioning.core.texts import open_text
from captioning.runs.places import run_of
from captioning.runs.told import overrides_of, read_scores, read_summary

Row = dict[str, str]
COLUMNS = (
    *("experiment", "overrides", "members", "decoder", "cell", "encoder", "search", "seed", "epochs", "best_epoch"),
    *("seconds", "parameters", "BLEU-1", "BLEU-2", "BLEU-3", "BLEU-4", "METEOR", "ROUGE-L", "CIDEr"),
    *("photographs_per_second", "different", "novel", "bad_endings", "commit", "date"),
)
KEY = ("experiment", "overrides", "members", "seed", "search", "tokenizer")  # what a row is a repetition by
OF_A_RUN = ("decoder", "cell", "encoder", "seed", "epochs", "best_epoch", "seconds", "parameters")
PLACES = ("name", "out", "sweep", "hydra.", "logger", "test", "data.root", "data.images", "data.features_root")
UNTOLD = (*PLACES, "data.workers", "report", "trainer.enable_progress_bar", "trainer.log_every_n_steps")  # of no effect


def is_told(override: str) -> bool:
    """True for an override that changes what is trained: no place, name or output."""
    key = override.lstrip("+~").partition("=")[0]
    return not key.startswith(UNTOLD) and not (key.startswith("data.sources.") and key.endswith(".root"))


def told(override: str) -> str:
    """An override, with the name alone of a file or folder: what is before it is of one machine."""
    key, _, value = override.partition("=")
    path = PurePath(value.strip("'\""))
    return f"{key}={path.name}" if path.is_absolute() else override


def scored(folders: Iterable[Path], split: str) -> Iterator[Path]:
    """The folders with scores of a split among some folders and below them, except what a run moved to ``earlier``.

    Raises:
        CaptioningError: a folder has none.
    """
    for folder in folders:
        files = sorted(folder.rglob(f"scores_{split}.json"))
        found = [file.parent for file in files if "earlier" not in file.relative_to(folder).parts]
        if not found:
            raise CaptioningError(
                f"{folder}: there is no scores_{split}.json here or below. Name folders of runs, sweeps or ensembles "
                f"that `captioning evaluate` has scored (--split {split})."
            )
        yield from found


def row_of(folder: Path, split: str) -> Row:
    """The row of a run or an ensemble, by the columns' names; a score is ×100, with two decimals.

    An ensemble's parameters and seconds are the sums of its members', if their runs are where they were.

    Args:
        folder: a folder with ``scores_SPLIT.json``.
        split: the split.

    Raises:
        CaptioningError: a file is missing or damaged.
    """
    content = read_scores(folder / f"scores_{split}.json")
    members = content.get("members")
    row = _of_an_ensemble(content) if members else _of_a_run(Path(content.get("run") or folder))
    row["search"] = content.get("search", "")
    if "tokenizer" in content:  # another than coco-caption's
        row["tokenizer"] = content["tokenizer"]
    row |= {name: f"{100 * value:.2f}" for name, value in content["scores"].items() if name != "loss"}
    rate = content.get("photographs_per_second")
    row["photographs_per_second"] = "" if rate is None else f"{rate:.1f}"
    return {name: str(value) for name, value in row.items()}


def _of_a_run(folder: Path) -> dict[str, Any]:
    summary = read_summary(folder)
    overrides = overrides_of(folder)
    chosen = [each.partition("=")[2] for each in overrides if each.startswith("experiment=")]
    changed = [told(each) for each in overrides if is_told(each) and not each.startswith(("experiment=", "seed="))]
    return {
        "experiment": chosen[-1] if chosen else folder.name,
        "overrides": " ".join(changed),
        **{name: summary.get(name, "") for name in OF_A_RUN},
    }


def _of_an_ensemble(content: Mapping[str, Any]) -> dict[str, Any]:
    members, average = content["members"], content.get("average")
    runs = [run_of(Path(member["checkpoint"])) for member in members]
    summaries = [read_summary(run) if (run / "summary.json").exists() else {} for run in runs]
    row: dict[str, Any] = {
        "experiment": "ensemble" if average != "weights" else "mean weights",
        "members": " + ".join(
            f"{run.name} ({member['sha256'][:12]})" for run, member in zip(runs, members, strict=True)
        ),
        "overrides": f"average={average}"
        + (f" weights={','.join(f'{each:g}' for each in content['weights'])}" if content.get("weights") else ""),
        "seed": " ".join(str(member["seed"]) for member in members),
    }
    for name in ("decoder", "cell", "encoder"):
        row[name] = " + ".join(dict.fromkeys(member[name] for member in members if name in member))
    if all("seconds" in each and "parameters" in each for each in summaries):
        row["seconds"] = sum(each["seconds"] for each in summaries)
        parameters = [each["parameters"] for each in summaries]
        row["parameters"] = sum(parameters) if average != "weights" else parameters[0]
    return row


def read_rows(path: Path, key: Sequence[str] = KEY) -> list[Row]:
    """The rows of a table; none if there is no such file, or nothing in it.

    Args:
        path: the table.
        key: the columns that rows are repetitions by; a table has the first two of them.

    Raises:
        CaptioningError: the file is no table of results: its rows would be lost.
    """
    if not path.exists():
        return []
    try:
        with open_text(path, "table of results") as file:
            table = csv.DictReader(file)
            rows = [dict(row) for row in table]
    except csv.Error as error:
        raise CaptioningError(f"{path}: this is no table that can be read ({error}). Name another file.") from error
    if table.fieldnames and (not set(key[:2]) <= set(table.fieldnames) or any(None in row for row in rows)):
        raise CaptioningError(
            f"{path}: this is no table of such results, which has the columns {', '.join(key[:2])} and others. Its "
            "rows would be lost: name another file."
        )
    return rows


def merged(rows: Sequence[Row], further: Iterable[Row], key: Sequence[str] = KEY) -> list[Row]:
    """Rows with further ones at the end, or in the place of the row that a further one repeats (``key``)."""
    found = {_key(row, key): row for row in rows}
    for row in further:
        found[_key(row, key)] = row
    return list(found.values())


def columns_of(rows: Iterable[Row]) -> list[str]:
    """``COLUMNS``, and before the commit any others that the rows have."""
    others = dict.fromkeys(name for row in rows for name in row if name not in COLUMNS)
    return [*COLUMNS[:-2], *others, *COLUMNS[-2:]]


def _key(row: Row, key: Sequence[str]) -> tuple[str, ...]:
    return tuple(row.get(name) or "" for name in key)
