"""What the report tells of runs without captions: their scores, and of a model of answers some questions."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from captioning.core.measure import Measure
from captioning.core.questions import normal_answer
from captioning.metrics import Accuracy, AnswerPairs, References, Scores
from captioning.metrics.bootstrap import bootstrap, p_value
from captioning.text.words import tokenize_words_each

SHOWN = 6  # questions with a right answer, and as many with a wrong one
CHANCE = 0.05

Told = Mapping[str, Any]  # the content of a file of scores
Row = Mapping[str, Any]  # one question of a file of answers


def score_table(told: Mapping[str, Told]) -> list[list[str]]:
    """The rows of a table of scores with intervals, header first; the baselines are those of the first run.

    Args:
        told: the contents of the runs' files of scores, by the runs' names.
    """
    usable = {name: each for name, each in told.items() if isinstance(each.get("scores"), Mapping)}
    if not usable:
        return []
    first = next(iter(usable.values()))
    baselines = first.get("baselines")
    columns = {name: (each["scores"], each.get("intervals") or {}) for name, each in usable.items()}
    columns |= {name: (scores, {}) for name, scores in (baselines or {}).items()}
    measures = dict.fromkeys(measure for each in usable.values() for measure in each["scores"])
    scale = 100.0 if "questions" in first else 1.0
    return [
        ["", *columns],
        *(
            [name, *(_cell(Measure(name, True, scale), scores, bounds) for scores, bounds in columns.values())]
            for name in measures
        ),
    ]


def _cell(measure: Measure, scores: Mapping[str, Any], bounds: Mapping[str, Any]) -> str:
    value = scores.get(measure.name)
    if not isinstance(value, int | float):
        return "–"
    low_high = bounds.get(measure.name)
    interval = f" [{', '.join(measure.text(bound) for bound in low_high)}]" if low_high else ""
    return f"{measure.text(value)}{interval}"


def sentences(told: Mapping[str, Told], answers: Mapping[str, Sequence[Row]], resamples: int) -> list[str]:
    """Sentences on the paired tests: of each run against its baselines, and of the others against the first run.

    Args:
        told: the contents of the runs' files of scores, by the runs' names.
        answers: the rows of the runs' files of answers, by the runs' names.
        resamples: the number of resamples of the bootstrap; 0 for no test between runs.
    """
    lines = []
    for name, each in told.items():
        for baseline, chances in (each.get("p_values") or {}).items():
            measure = next(iter(chances), None)
            pair = (each["scores"], (each.get("baselines") or {}).get(baseline, {}))
            if measure is not None and all(measure in scores for scores in pair):
                difference = each["scores"][measure] - each["baselines"][baseline][measure]
                lines.append(_sentence(name, f"the {baseline} baseline", measure, difference, chances[measure]))
    answered = {name: rows for name, rows in answers.items() if rows}
    if resamples and len(answered) > 1:
        lines += _between(answered, resamples)
    return lines


def _between(answers: Mapping[str, Sequence[Row]], resamples: int) -> list[str]:
    first, *others = answers
    ids = [row["question_id"] for row in answers[first]]
    same = [name for name in others if [row["question_id"] for row in answers[name]] == ids]
    if not same:
        return []
    references = References([row["answers"] for row in answers[first]], tokenize_words_each)
    scores = [
        Scores.of([Accuracy()], AnswerPairs(references, [row["answer"] for row in answers[name]]))
        for name in (first, *same)
    ]
    drawn = [each["accuracy"] for each in bootstrap(scores, resamples)]
    values = [each.corpus()["accuracy"] for each in scores]
    return [
        _sentence(name, first, "accuracy", value - values[0], p_value(drawn[0], each))
        for name, value, each in zip(same, values[1:], drawn[1:], strict=True)
    ]


def _sentence(name: str, other: str, measure: str, difference: float, chance: float) -> str:
    if difference == 0:
        return f"{name} and {other} have the same {measure}."
    better, worse = (name, other) if difference > 0 else (other, name)
    clear = "is better" if chance < CHANCE else "scores better, perhaps by chance,"
    return f"{better} {clear} than {worse} by {100 * abs(difference):.1f} {measure}, p = {chance:.3f}."


def examples(
    answers: Mapping[str, Sequence[Row]],
    photos: Mapping[int | str, Path],
    thumbnail: Callable[[Path | None], str | None],
) -> list[dict[str, Any]]:
    """Questions that the first run answers rightly, and others that it answers wrongly, spread over the split.

    Args:
        answers: the rows of the runs' files of answers, by the runs' names.
        photos: the files of the photographs that are known, by id.
        thumbnail: a function from a file to a small photograph as a ``data:`` address.
    """
    first = next((rows for rows in answers.values() if rows), [])
    others = {name: {row["question_id"]: row["answer"] for row in rows} for name, rows in answers.items() if rows}
    right: dict[bool, list[Row]] = {True: [], False: []}
    for row in first:
        wanted = [str(each) for each in row["answers"]] or [""]
        usual = max(dict.fromkeys(wanted), key=wanted.count)  # as in the accuracy
        right[normal_answer(str(row["answer"])) == normal_answer(usual)].append(row)
    groups = []
    for is_right, name in ((True, "answered rightly"), (False, "answered wrongly")):
        rows = right[is_right]
        spread = rows[:: max(1, len(rows) // SHOWN)][:SHOWN]
        items = [
            {
                "question": row.get("question", ""),
                "image": thumbnail(photos.get(row.get("image_id", ""))),
                "said": [(each, given.get(row["question_id"], "–")) for each, given in others.items()],
                "wanted": ", ".join(dict.fromkeys(map(str, row["answers"]))),
            }
            for row in spread
        ]
        if items:
            groups.append({"name": name, "count": len(rows), "items": items})
    return groups
