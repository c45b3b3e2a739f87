"""Reports side by side: one table, as text or as LaTeX, and the sentences that it has no room for."""

from collections.abc import Sequence

from captioning.metrics.comparison import Report

_NEVER_SAID = 10
_CHANCE = 0.05


def table(reports: Sequence[Report]) -> list[list[str]]:
    """The rows of the table, header first: scores × 100, as papers give them."""
    names = dict.fromkeys(name for report in reports for name in report.scores)
    rows = [["", *(report.name for report in reports)]]
    rows += [[name, *(_score(report, name) for report in reports)] for name in names]
    rows.append(["vocabulary", *(str(report.diversity.vocabulary) for report in reports)])
    rows.append(["words a caption", *(f"{report.diversity.mean_length:.2f}" for report in reports)])
    rows.append(["different captions, %", *(f"{100 * report.diversity.distinct:.1f}" for report in reports)])
    if any(report.diversity.novel is not None for report in reports):
        novel = [report.diversity.novel for report in reports]
        rows.append(["not in training, %", *("–" if share is None else f"{100 * share:.1f}" for share in novel)])
    rows.append(["words never said", *(str(len(report.diversity.never_said)) for report in reports)])
    return rows


def text(rows: Sequence[Sequence[str]]) -> str:
    """Rows in columns of equal width."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]).rstrip() for row in rows]
    return "\n".join([lines[0], "-" * max(map(len, lines)), *lines[1:]])


def latex(rows: Sequence[Sequence[str]]) -> str:
    """Rows as a ``tabular`` for the package booktabs."""
    escaped = [[cell.replace("%", r"\%").replace("_", r"\_").replace("–", "--") for cell in row] for row in rows]
    lines = [" & ".join(row) + r" \\" for row in escaped]
    columns = "l" + "r" * (len(rows[0]) - 1)
    head = [rf"\begin{{tabular}}{{{columns}}}", r"\toprule", lines[0], r"\midrule"]
    return "\n".join([*head, *lines[1:], r"\bottomrule", r"\end{tabular}"])


def sentences(reports: Sequence[Report]) -> list[str]:
    """What the table can't hold: which is better, and the frequent words that each never says."""
    first, *others = reports
    lines = []
    for other in others:
        for name, chance in other.p_values.items():
            difference = 100 * (other.scores[name] - first.scores[name])
            better, worse = (other, first) if difference > 0 else (first, other)
            clear = "is better" if chance < _CHANCE else "scores higher, perhaps by chance,"
            lines.append(f"{better.name} {clear} than {worse.name} by {abs(difference):.1f} {name}, p = {chance:.3f}.")
    for report in reports:
        words = [f"{word} ({count})" for word, count in report.diversity.never_said[:_NEVER_SAID]]
        if words:
            lines.append(f"{report.name} never says: {', '.join(words)}.")
    return lines


def _score(report: Report, name: str) -> str:
    if name not in report.scores:
        return "–"
    shown = f"{100 * report.scores[name]:.1f}"
    if name not in report.intervals:
        return shown
    low, high = report.intervals[name]
    return f"{shown} [{100 * low:.1f}, {100 * high:.1f}]"
