"""Reports side by side: one table as text or LaTeX, and sentences for content that does not fit into the table."""

from collections import Counter
from collections.abc import Sequence

from captioning.core.measure import Measure
from captioning.metrics.comparison import Report
from captioning.text import TREEBANK
from captioning.text.registry import told

_NEVER_SAID = 10
_CHANCE = 0.05
_LATEX = {"%": r"\%", "_": r"\_", "–": "--", "↓": r"$\downarrow$"}


def table(reports: Sequence[Report], tokenizer: str = TREEBANK) -> list[list[str]]:
    """The rows of the table, header first: scores in their measures' format, with ↓ if lower is better.

    Args:
        reports: the reports, one a column.
        tokenizer: the name of the tokenizer, which has a row of its own if it is not coco-caption's.
    """
    rows = [["", *(report.name for report in reports)]]
    rows += [[row, *(name for _ in reports)] for row, name in told(tokenizer).items()]
    for name, measure in _measures(reports).items():
        label = name if measure.higher_is_better else f"{name} ↓"
        rows.append([label, *(_score(report, measure) for report in reports)])
    rows.append(["vocabulary", *(str(report.diversity.vocabulary) for report in reports)])
    rows.append(["words a caption", *(f"{report.diversity.mean_length:.2f}" for report in reports)])
    rows.append(["different captions, %", *(f"{100 * report.diversity.distinct:.1f}" for report in reports)])
    if any(report.diversity.novel is not None for report in reports):
        rows.append(["not in training, %", *(_share(report.diversity.novel) for report in reports)])
    if any(report.diversity.bad_endings is not None for report in reports):
        rows.append(["bad endings, %", *(_share(report.diversity.bad_endings) for report in reports)])
    rows.append(["words never said", *(str(len(report.diversity.never_said)) for report in reports)])
    return rows


def units(reports: Sequence[Report]) -> str:
    """The factor of the table's scores, such as ``scores × 100``, with the exceptions."""
    measures = _measures(reports)
    scales = Counter(measure.scale for measure in measures.values())
    usual = scales.most_common(1)[0][0] if scales else 1.0
    others = [f", {name} × {measure.scale:g}" for name, measure in measures.items() if measure.scale != usual]
    return f"scores × {usual:g}{''.join(others)}"


def text(rows: Sequence[Sequence[str]]) -> str:
    """The rows as text in columns of equal width."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]).rstrip() for row in rows]
    return "\n".join([lines[0], "-" * max(map(len, lines)), *lines[1:]])


def latex(rows: Sequence[Sequence[str]]) -> str:
    """The rows as a ``tabular`` for the LaTeX package booktabs."""
    escaped = [["".join(_LATEX.get(letter, letter) for letter in cell) for cell in row] for row in rows]
    lines = [" & ".join(row) + r" \\" for row in escaped]
    columns = "l" + "r" * (len(rows[0]) - 1)
    head = [rf"\begin{{tabular}}{{{columns}}}", r"\toprule", lines[0], r"\midrule"]
    return "\n".join([*head, *lines[1:], r"\bottomrule", r"\end{tabular}"])


def sentences(reports: Sequence[Report]) -> list[str]:
    """Sentences on the better report, and on the frequent words that each report never says."""
    first, *others = reports
    lines = []
    for other in others:
        for name, chance in other.p_values.items():
            lines.append(_difference(first, other, other.measures[name], chance))
    for report in reports:
        words = [f"{word} ({count})" for word, count in report.diversity.never_said[:_NEVER_SAID]]
        if words:
            lines.append(f"{report.name} never says: {', '.join(words)}; in brackets how often the references do.")
    return lines


def _difference(first: Report, other: Report, measure: Measure, chance: float) -> str:
    difference = other.scores[measure.name] - first.scores[measure.name]
    if difference == 0:
        return f"{first.name} and {other.name} have the same {measure.name}."
    better, worse = (other, first) if (difference > 0) == measure.higher_is_better else (first, other)
    clear = "is better" if chance < _CHANCE else "scores better, perhaps by chance,"
    return (
        f"{better.name} {clear} than {worse.name} by {measure.text(abs(difference))} {measure.name}, p = {chance:.3f}."
    )


def _measures(reports: Sequence[Report]) -> dict[str, Measure]:
    """The measures of all reports, by name."""
    return {name: measure for report in reports for name, measure in report.measures.items()}


def _share(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.1f}"


def _score(report: Report, measure: Measure) -> str:
    if measure.name not in report.scores:
        return "–"
    shown = measure.text(report.scores[measure.name])
    if measure.name not in report.intervals:
        return shown
    low, high = report.intervals[measure.name]
    return f"{shown} [{measure.text(low)}, {measure.text(high)}]"
