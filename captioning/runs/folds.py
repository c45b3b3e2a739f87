"""Cross-validation: means over runs that differ in their fold alone (``data.fold``, of ``data.folds``)."""

import json
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from statistics import mean
from typing import Any

from captioning.core.errors import CaptioningError
from captioning.runs.question_rows import BASELINES
from captioning.runs.results import Row, is_told, told
from captioning.runs.told import configuration_of, overrides_of, read_scores, read_summary

COLUMNS = (
    *("experiment", "overrides", "data", "split", "model", "cell", "folds", "accuracy", "low", "high", "questions"),
    *("seed", "epochs", "seconds", "parameters", "commit", "date"),
)
KEY = ("experiment", "overrides", "data", "split", "model", "cell", "seed")  # what a row is a repetition by
OF_A_PLACE = ("name", "out", "sweep", "report", "logger")  # settings that tell no two trainings apart


def folds_of(run: Path) -> tuple[int, int] | None:
    """The fold of a run and the number of folds; None for a run without folds."""
    data = configuration_of(run).get("data") or {}
    fold, folds = data.get("fold"), data.get("folds")
    return (fold, folds) if isinstance(fold, int) and isinstance(folds, int) else None


def groups_of(runs: Iterable[Path]) -> list[list[Path]]:
    """The runs with folds, together where they differ in the fold alone; in the order of their folds."""
    found: dict[str, list[Path]] = {}
    for run in runs:
        if folds_of(run) is not None:
            found.setdefault(_without_fold(run), []).append(run)
    return [sorted(group, key=lambda run: folds_of(run) or (0, 0)) for group in found.values()]


def mean_rows(folder: Path, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """A row of means for each group of a sweep's finished jobs with folds: its scores, and the sum of the seconds.

    Args:
        folder: the sweep's folder.
        rows: the rows of its jobs.
    """
    finished = {folder / str(row["job"]): row for row in rows if row["status"] == "finished"}
    told = {run: _settings(run) for run in finished}
    common = set.intersection(*map(set, told.values())) if told else set()
    found = []
    for group in groups_of(finished):
        if len(group) > 1:
            own = " ".join(each for each in told[group[0]] if each not in common)
            members = [finished[run] for run in group]
            scores = [name for name in members[0] if name.startswith(("val/", "test/"))]
            found.append(
                {
                    "job": own or "all",
                    "status": f"mean of {_count(group)}",
                    **{name: mean(each[name] for each in members) for name in scores if _all_have(members, name)},
                    "seconds": sum(each["seconds"] for each in members),
                }
            )
    return found


def rows_of_folds(runs: Sequence[Path], split: str) -> list[Row]:
    """A row of a table of results for each group of runs, and for each baseline that their scores have beside them.

    ``accuracy`` is the mean over the folds, ×100, and ``low`` and ``high`` are the lowest and the highest fold's;
    ``questions`` are those of all folds together, ``epochs`` and ``parameters`` means, ``seconds`` a sum.

    Args:
        runs: the folders of runs with folds, with ``scores_SPLIT.json``.
        split: the split.

    Raises:
        CaptioningError: a file is missing or damaged; two runs of a group have one fold.
    """
    found = []
    for group in groups_of(runs):
        twice = [run for run, other in pairwise(group) if folds_of(run) == folds_of(other)]
        if twice:
            raise CaptioningError(f"{twice[0]}: another of these runs has its settings and its fold, too. Name one.")
        contents = [read_scores(run / f"scores_{split}.json") for run in group]
        summaries = [read_summary(run, ("epochs", "seconds", "parameters")) for run in group]
        odd = [run for run, content in zip(group, contents, strict=True) if "accuracy" not in content["scores"]]
        if odd:
            raise CaptioningError(f"{odd[0] / f'scores_{split}.json'}: there is no accuracy. Evaluate the run again.")
        overrides, answerer = _settings(group[0]), configuration_of(group[0]).get("answerer") or {}
        chosen = [each.partition("=")[2] for each in overrides if each.startswith("experiment=")]
        common = {
            "data": str(summaries[0].get("data", "")),
            "split": split,
            "folds": _count(group).removesuffix(" folds"),
            "questions": str(sum(content.get("questions", 0) for content in contents)),
        }
        own = {
            **common,
            "experiment": chosen[-1] if chosen else group[0].name,
            "overrides": " ".join(each for each in overrides if not each.startswith("experiment=")),
            "model": str(summaries[0].get("answerer", "")),
            "cell": str(summaries[0].get("cell", "")) if "hidden_size" in answerer else "",
            "seed": str(summaries[0].get("seed", "")),
            "epochs": f"{mean(each['epochs'] for each in summaries):.1f}",
            "seconds": str(sum(each["seconds"] for each in summaries)),
            "parameters": str(round(mean(each["parameters"] for each in summaries))),
        }
        found.append(own | _accuracies([content["scores"]["accuracy"] for content in contents]))
        for name in BASELINES:
            scores = [(content.get("baselines") or {}).get(name, {}).get("accuracy") for content in contents]
            if None not in scores:
                found.append({**common, "model": name} | _accuracies(scores))
    return found


def _accuracies(scores: Sequence[float]) -> Row:
    values = {"accuracy": mean(scores), "low": min(scores), "high": max(scores)}
    return {name: f"{100 * value:.2f}" for name, value in values.items()}


def _count(group: Sequence[Path]) -> str:
    folds = folds_of(group[0])
    assert folds is not None
    return f"{len(group)} folds" if len(group) == folds[1] else f"{len(group)} of {folds[1]} folds"


def _all_have(members: Sequence[Mapping[str, Any]], name: str) -> bool:
    return all(isinstance(member.get(name), float) for member in members)


def _settings(run: Path) -> list[str]:
    """The overrides of a run that matter, without its fold."""
    return [told(each) for each in overrides_of(run) if is_told(each) and not each.startswith("data.fold=")]


def _without_fold(run: Path) -> str:
    """The settings of a run without its fold and its place, as one text."""
    config = {name: value for name, value in configuration_of(run).items() if name not in OF_A_PLACE}
    data = dict(config["data"])
    source = {name: value for name, value in (data.pop("source", None) or {}).items() if name != "fold"}
    data.pop("fold")
    return json.dumps({**config, "data": {**data, "source": source}}, sort_keys=True, default=str)
