"""Rows of ``data/results/questions.csv``: of each scored run a row of all questions, and one of each kind."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from captioning.core.errors import CaptioningError
from captioning.runs.places import run_of
from captioning.runs.settings import data_name
from captioning.runs.told import configuration_of, read_scores, read_summary

Row = dict[str, str]
COLUMNS = (
    *("data", "split", "model", "attention", "encoder", "cell", "kind", "accuracy", "WUPS-0.9", "WUPS-0.0", "VQA"),
    *("low", "high", "questions", "seed", "epochs", "seconds", "parameters", "commit", "date"),
)
KEY = ("data", "split", "model", "attention", "encoder", "cell", "kind", "seed")  # what a row is a repetition by
ALL = "all"  # the kind of a row of all questions
BASELINES = ("majority", "blind")


def is_of_answers(folder: Path, split: str) -> bool:
    """True if the scores of a folder are those of answers to questions."""
    content = read_scores(folder / f"scores_{split}.json")
    return "questions" in content and "kinds" in content


def rows_of_answers(folder: Path, split: str) -> list[Row]:
    """The rows of a run, or of the average of several; scores are ×100, with two decimals.

    ``low`` and ``high`` are the ends of the 95 % interval of the accuracy. The rows of the baselines, which the scores
    file has beside the model's, have the model ``majority`` or ``blind`` and no run's columns.

    Args:
        folder: a folder with ``scores_SPLIT.json``.
        split: the split.

    Raises:
        CaptioningError: a file is missing or damaged.
    """
    path = folder / f"scores_{split}.json"
    content = read_scores(path)
    counts, scores = content.get("kinds"), content["scores"]
    if not isinstance(counts, Mapping):
        raise CaptioningError(f"{path}: these are no scores of answers. Evaluate the run again.")
    run = Path(content.get("run") or folder)  # an evaluation in a folder of its own names its run
    members = content.get("members")
    if members:
        run = run_of(Path(members[0]["checkpoint"]))
    summary, config = read_summary(run), configuration_of(run)
    answerer = config.get("answerer") or {}
    looks = answerer.get("looks")
    more = [name for name, setting in {"a sum": "counts", "places": "places"}.items() if answerer.get(setting)]
    common = {"data": str(content.get("data") or data_name(config)), "split": split}
    own = {
        **common,
        **{name: str(summary.get(name, "")) for name in ("encoder", "seed", "epochs", "seconds", "parameters")},
        "model": summary.get("answerer", ""),
        "attention": "" if looks is None else " + ".join([f"{looks} looks", *more]),
        "cell": summary.get("cell", "") if (config.get("answerer") or {}).get("hidden_size") else "",
    }
    if members:
        own["model"] = f"average of {len(members)}"
        own |= dict.fromkeys(("attention", "cell", "epochs", "seconds", "parameters"), "")
    rows = _rows(own, scores, counts, content.get("intervals") or {})
    for name in BASELINES:
        if name in (content.get("baselines") or {}):
            rows += _rows({**common, "model": name}, content["baselines"][name], counts, {})
    return rows


def _rows(
    common: Mapping[str, Any], scores: Mapping[str, float], counts: Mapping[str, int], intervals: Mapping[str, Any]
) -> list[Row]:
    """A row of all questions, with every score, and a row of each kind."""

    def bounds(name: str) -> dict[str, str]:
        ends = intervals.get(name)
        return {} if ends is None else {"low": f"{100 * ends[0]:.2f}", "high": f"{100 * ends[1]:.2f}"}

    every = {name: f"{100 * value:.2f}" for name, value in scores.items() if name in COLUMNS}
    rows = [{**common, "kind": ALL, **every, **bounds("accuracy"), "questions": str(sum(counts.values()))}]
    for kind, count in counts.items():
        if kind in scores:
            accuracy = f"{100 * scores[kind]:.2f}"
            rows.append({**common, "kind": kind, "accuracy": accuracy, **bounds(kind), "questions": str(count)})
    return rows
