"""``captioning score`` of files of answers, ``answers_SPLIT.json``: one table, with paired tests against the first."""

import argparse
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from captioning.core.errors import CaptioningError
from captioning.core.files import read_json
from captioning.core.ids import ImageId, image_id, translation
from captioning.core.questions import KINDS
from captioning.jobs.options import STDOUT, write_json

log = logging.getLogger(__name__)

KEYS = ("question_id", "answer", "question", "kind", "answers")


def are_answers(path: str) -> bool:
    """True for a file of answers in the form that ``captioning evaluate`` writes."""
    content = read_json(Path(path), "results file")
    return isinstance(content, list) and bool(content) and isinstance(content[0], dict) and KEYS[0] in content[0]


def score_answers(options: argparse.Namespace, names: Mapping[str, str]) -> None:
    """Print the scores of files of answers to the same questions.

    Args:
        options: the options of ``captioning score``.
        names: the files' short names by their paths.

    Raises:
        CaptioningError: a file has another form, or other questions than the first.
    """
    from captioning.data.questions import Question
    from captioning.metrics import Accuracy, AccuracyByKind, Metric, VqaAccuracy, Wups
    from captioning.report.table import text
    from captioning.tasks.answering.evaluation import compare_answers

    read = {name: _read(path) for path, name in names.items()}
    first, *others = read
    for name in others:  # a number in one file may be a text in the other
        stands_for = translation(read[name], read[first])
        read[name] = {stands_for.get(number, number): row for number, row in read[name].items()}
    asked = {number: (row["question"], row["answers"]) for number, row in read[first].items()}
    for name in others:
        different = sum((row["question"], row["answers"]) != asked.get(number) for number, row in read[name].items())
        if different or read[name].keys() != asked.keys():
            raise CaptioningError(
                f"{name}: {len(read[name])} questions, of which {different} are not those of {first} "
                f"({len(asked)} questions). Compare answers to one split of one data set."
            )
    questions = [
        Question(number, row["question"], tuple(row["answers"]), _image_of(row, number), row["kind"])
        for number, row in read[first].items()
    ]
    metrics: list[Metric] = [Accuracy(), AccuracyByKind(KINDS), Wups(0.9), Wups(0.0)]
    if any(len(question.answers) > 1 for question in questions):
        metrics.append(VqaAccuracy())
    given = {name: [rows[question.id]["answer"] for question in questions] for name, rows in read.items()}
    standing = compare_answers(given, questions, metrics, resamples=max(options.resamples, 1), seed=options.seed)
    if options.json:
        content = {"scores": standing.scores, "intervals": standing.intervals, "p_values": standing.p_values}
        write_json(options.json, {"questions": len(questions), **content})
    if options.json != STDOUT:
        measures = standing.scores[first]
        table = [["", *read]]
        for name in measures:
            values = [standing.measures[name].text(scores[name], 2) for scores in standing.scores.values()]
            table.append([name, *values])
            bounds = "-".join(standing.measures[name].text(value) for value in standing.intervals[name])
            tests = [f"p {standing.p_values[other][name]:.3f}" for other in others]
            table.append(["  95 %, p against the first" if others else "  95 %", bounds, *tests])
        print(f"{len(questions)} questions; scores × 100, with the first's 95 % intervals and paired tests against it")
        print(text(table))


def _read(path: str) -> dict[Any, dict[str, Any]]:
    """The rows of a file by the questions' ids."""
    content = read_json(Path(path), "answers file")
    rows: Sequence[Any] = content if isinstance(content, list) else []
    wrong = [row for row in rows if not _is_row(row)]
    if not rows or wrong:
        raise CaptioningError(
            f"{path}: {len(wrong)} of {len(rows)} entries lack one of {', '.join(KEYS)}, which `captioning evaluate` "
            "writes into answers_SPLIT.json. Score such files alone, or captions with --references."
        )
    found = {number: row for row in rows if (number := image_id(row["question_id"])) is not None}
    if len(found) < len(rows):
        raise CaptioningError(f"{path}: {len(rows) - len(found)} questions are there twice. Keep one answer of each.")
    return found


def _is_row(row: Any) -> bool:
    if not isinstance(row, dict) or any(key not in row for key in KEYS) or row["kind"] not in KINDS:
        return False
    texts = isinstance(row["answers"], list) and bool(row["answers"])
    texts = texts and all(isinstance(each, str) for each in [row["answer"], row["question"], *row["answers"]])
    return texts and image_id(row["question_id"]) is not None


def _image_of(row: dict[str, Any], number: ImageId) -> ImageId:
    """The photograph of a question; a question without one stands alone."""
    image = image_id(row.get("image_id"))
    return number if image is None else image
