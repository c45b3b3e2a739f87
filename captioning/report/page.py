"""The report on runs: one HTML file that needs nothing else, for a screen of any width and for paper.

Everything that comes from a run (names, captions, settings) is escaped by the template.
"""

import base64
import io
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from PIL import Image

from captioning.core.clips import read_strip
from captioning.core.errors import CaptioningError
from captioning.core.measure import Measure
from captioning.metrics.comparison import Report, compare
from captioning.metrics.explanation import explain
from captioning.metrics.metric import measures_of
from captioning.metrics.references import References
from captioning.metrics.scores import coco_metrics
from captioning.report.answers import examples, score_table
from captioning.report.answers import sentences as told_sentences
from captioning.report.charts import Series, bar_chart, line_chart
from captioning.report.table import sentences, table, units

SIDE = 320  # pixels of the longer side of a photograph on the page
SHOWN = 3  # the best, the median and the worst photographs, so many of each
FIRST = ("CIDEr", "BLEU-4")  # the scores by which photographs are ordered, where they are there
FROM_FILES = (  # rows of the table that the files of scores have alone: label, name there, the row that follows
    ("METEOR", "METEOR", "vocabulary"),
    ("not in training, %", "novel", "bad endings, %"),
)


@dataclass(frozen=True)
class Looked:
    """A photograph with a picture for each word of its caption, of where the captioner looked.

    Attributes:
        words: the words.
        pictures: one picture for each word.
    """

    words: Sequence[str]
    pictures: Sequence[Image.Image]

    @property
    def pairs(self) -> list[tuple[str, Image.Image]]:
        """Each word with its picture."""
        return list(zip(self.words, self.pictures, strict=True))


@dataclass(frozen=True)
class RunRecord:
    """What the page tells of one run.

    Attributes:
        name: the run's name on the page.
        settings: its settings by dotted names.
        rows: the rows of its ``metrics.csv``.
        summary: the content of its ``summary.json``.
        measures: the measures of its task.
        captions: a caption for each test photograph, by the photograph's id.
        references: the references of each test photograph.
        search: the search of the captions, in words.
        commands: the commands that make the run and its scores again.
        photos: the files of the test photographs that are known, by id.
        looked: photographs with where the captioner looked.
        coloured: coloured texts of units, each with a heading.
        samples: texts that a language model has written.
        told: the content of its file of scores.
        answers: the questions of the test split with its answers, of a model of answers.
    """

    name: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    rows: Sequence[Mapping[str, float]] = ()
    summary: Mapping[str, Any] = field(default_factory=dict)
    measures: Mapping[str, Measure] = field(default_factory=dict)
    captions: Mapping[int | str, str] = field(default_factory=dict)
    references: Mapping[int | str, Sequence[str]] = field(default_factory=dict)
    search: str = ""
    commands: Sequence[str] = ()
    photos: Mapping[int | str, Path] = field(default_factory=dict)
    looked: Sequence[Looked] = ()
    coloured: Sequence[tuple[str, str]] = ()
    samples: str = ""
    told: Mapping[str, Any] = field(default_factory=dict)
    answers: Sequence[Mapping[str, Any]] = ()


@dataclass(frozen=True)
class Effect:
    """The scores of a sweep's jobs by the value of one setting.

    Attributes:
        setting: the setting.
        values: for each value its text, the number of jobs, and their mean, lowest and highest score as text.
    """

    setting: str
    values: Sequence[tuple[str, int, str, str, str]]


@dataclass(frozen=True)
class SweepRecord:
    """What the page tells of a sweep beyond its runs.

    Attributes:
        columns: the columns of the table of jobs.
        jobs: the rows of the table, best first, as text.
        effects: the effect of each setting that was swept.
    """

    columns: Sequence[str]
    jobs: Sequence[Sequence[str]]
    effects: Sequence[Effect]


def report_html(
    title: str,
    runs: Sequence[RunRecord],
    *,
    sweep: SweepRecord | None = None,
    tokenizer: Any = None,
    resamples: int = 1000,
    notes: Sequence[str] = (),
) -> str:
    """The page.

    Args:
        title: the page's title.
        runs: the runs, at least one; the others are compared with the first.
        sweep: the sweep that the runs are jobs of.
        tokenizer: the tokenizer of the captions; None for coco-caption's.
        resamples: the number of resamples of the bootstrap.
        notes: sentences about what is missing on the page.
    """
    scored, reports, references = _reports(runs, tokenizer, resamples)
    told = {run.name: run.told for run in runs if run.told and not run.captions}
    answers = {run.name: run.answers for run in runs if run.answers}
    photos = next((run.photos for run in runs if run.answers), {})
    return str(
        _template().render(
            title=title,
            runs=runs,
            sweep=sweep,
            notes=notes,
            settings=_settings(runs),
            charts=_charts(runs),
            units=units(reports) if reports else "",
            scores=_scores(scored, reports),
            sentences=sentences(reports) if reports else [],
            search=", ".join(dict.fromkeys(run.search for run in scored if run.search)),
            images=len(scored[0].references) if scored else 0,
            lengths=_lengths(scored),
            shown=_photographs(scored, reports, references),
            told=score_table(told),
            tests=told_sentences(told, answers, resamples),
            questions=max(map(len, answers.values()), default=0),
            answered=examples(answers, photos, _thumbnail),
            totals=_totals(runs),
            markup=Markup,
            picture=_as_data,
        )
    )


@lru_cache(maxsize=1)
def _template() -> Any:
    environment = Environment(
        loader=PackageLoader("captioning", "report/templates"), autoescape=True, undefined=StrictUndefined
    )
    environment.trim_blocks = environment.lstrip_blocks = True
    return environment.get_template("report.html")


def _reports(
    runs: Sequence[RunRecord], tokenizer: Any, resamples: int
) -> tuple[list[RunRecord], list[Report], References | None]:
    """The runs with captions of the same photographs as the first such run, their scores, and the references."""
    first = next((run for run in runs if run.captions and run.references), None)
    if first is None:
        return [], [], None
    ids = list(first.references)
    scored = [run for run in runs if run.references.keys() == first.references.keys() == run.captions.keys()]
    texts = [list(first.references[each]) for each in ids]
    references = References(texts, tokenizer) if tokenizer else References(texts)
    captions = {run.name: [run.captions[each] for each in ids] for run in scored}
    return scored, compare(captions, references, resamples=resamples), references


def _scores(scored: Sequence[RunRecord], reports: Sequence[Report]) -> list[list[str]]:
    """The table of scores, with what the runs' files of scores tell beyond it, without intervals."""
    if not reports:
        return []
    rows = table(reports)
    for label, name, before in FROM_FILES:
        values = [run.told.get("scores", {}).get(name) if run.told.get("split") == "test" else None for run in scored]
        if any(isinstance(value, int | float) for value in values) and label not in [row[0] for row in rows]:
            cells = [f"{100 * value:.1f}" if isinstance(value, int | float) else "–" for value in values]
            at = next((number for number, row in enumerate(rows) if row[0] == before), len(rows))
            rows.insert(at, [label, *cells])
    return rows


def _settings(runs: Sequence[RunRecord]) -> list[tuple[str, list[str]]]:
    """The settings that differ between runs, or those of a single run."""
    names = list(dict.fromkeys(name for run in runs for name in run.settings))
    rows = [(name, [_text(run.settings.get(name)) for run in runs]) for name in names]
    return [row for row in rows if len(runs) == 1 or len(set(row[1])) > 1]


def _text(value: Any) -> str:
    return "–" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _charts(runs: Sequence[RunRecord]) -> list[Markup]:
    """Loss, validation scores and gradient norms over the steps."""

    def lines(name: str, dotted: bool, label: str = "", factor: float = 1.0) -> list[Series]:
        found = []
        for run in runs:
            points = [(row["step"], factor * row[name]) for row in run.rows if name in row and "step" in row]
            said = label if len(runs) == 1 else f"{run.name}{', ' * bool(label)}{label}"
            found += [Series(said, points, dotted)] if points else []
        return found

    measures = {name: measure for run in runs for name, measure in run.measures.items()}
    known = measures_of(coco_metrics())  # scores × 100, as in the table
    logged = {name for run in runs for row in run.rows for name in row}
    losses = [name for name, measure in measures.items() if not measure.higher_is_better and f"val/{name}" in logged]
    charts = []
    for name in losses[:1]:
        said = "negative log-likelihood (nats)" if name == "nll" else name
        pair = [*lines(f"train/{name}", False, "training"), *lines(f"val/{name}", True, "validation")]
        charts.append(line_chart(said, pair))
    scores = [name for name in measures if name not in losses and f"val/{name}" in logged]
    if len(runs) == 1:
        factor, said = (100.0, " × 100") if known.keys() >= set(scores) else (1.0, "")
        series = [each for name in scores for each in lines(f"val/{name}", True, name, factor)]
        charts.append(line_chart(f"validation scores{said}", series))
    else:
        chosen = [name for name in FIRST if name in scores] or scores[:1]
        for name in chosen:
            factor, said = (100.0, " × 100") if name in known else (1.0, "")
            charts.append(line_chart(f"validation {name}{said}", lines(f"val/{name}", True, factor=factor)))
    charts.append(
        line_chart(
            "norm of the gradient before clipping", lines("train/gradient_norm", False, "")[:8], logarithmic=True
        )
    )
    return [chart for chart in charts if chart]


def _lengths(scored: Sequence[RunRecord]) -> Markup:
    """The distribution of the captions' lengths, beside the references'."""
    if not scored:
        return Markup("")
    said = [Series(run.name, _shares([len(text.split()) for text in run.captions.values()])) for run in scored[:4]]
    references = [len(text.split()) for texts in scored[0].references.values() for text in texts]
    return bar_chart(
        "words a caption, fraction of the captions", [Series("references", _shares(references)), *said], "words"
    )


def _shares(lengths: Sequence[int]) -> list[tuple[float, float]]:
    counts = Counter(min(length, 30) for length in lengths)
    return [(length, count / len(lengths)) for length, count in sorted(counts.items())]


def _photographs(
    scored: Sequence[RunRecord], reports: Sequence[Report], references: References | None
) -> list[dict[str, Any]]:
    """The best, median and worst photographs of the first run, with every run's captions and the references.

    The first of each group has an explanation of its scores.
    """
    if not reports or references is None:
        return []
    by_image = reports[0].images
    measure = next((name for name in FIRST if name in by_image), next(iter(by_image), None))
    if measure is None:
        return []
    run, ids = scored[0], list(scored[0].references)
    order = np.argsort(-np.array(by_image[measure]), kind="stable")
    count = min(SHOWN, -(-len(ids) // 3))
    middle = max(0, (len(ids) - count) // 2)
    groups = []
    chosen = (("best", order[:count]), ("median", order[middle : middle + count]), ("worst", order[::-1][:count]))
    for name, places in chosen:
        items: list[dict[str, Any]] = []
        for place in map(int, places):
            file = run.photos.get(ids[place])
            said = [(each.name, each.captions[ids[place]]) for each in scored[:4]]
            value = reports[0].measures[measure].text(by_image[measure][place])
            item = {"id": ids[place], "image": _thumbnail(file), "said": said, "score": value}
            why = [] if items else explain(run.captions[ids[place]], references, place)
            items.append({**item, "references": run.references[ids[place]], "why": "\n".join(why)})
        groups.append({"name": name, "measure": measure, "items": items})
    return groups


def _thumbnail(path: Path | None) -> str | None:
    """A small photograph as a ``data:`` address; None for a photograph that is unknown or can't be read."""
    if path is None:
        return None
    try:
        image = read_strip(path)
    except CaptioningError:
        return None
    image.thumbnail((SIDE, SIDE))
    return _as_data(image)


def _as_data(image: Image.Image) -> str:
    """A picture as a ``data:`` address."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=80)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _totals(runs: Sequence[RunRecord]) -> list[tuple[str, list[str]]]:
    """Epochs, time, size and memory of each run."""
    told: dict[str, Callable[[float], str]] = {
        "epochs": str,
        "best_epoch": str,
        "seconds": _duration,
        "parameters": lambda value: f"{value / 1e6:.2f} M",
        "memory_mb": lambda value: f"{value / 1000:.1f} GB",
        "gpu_memory_mb": lambda value: f"{value / 1000:.1f} GB",
    }
    said = {"best_epoch": "best epoch", "seconds": "time", "parameters": "trained parameters"}
    said |= {"memory_mb": "largest memory", "gpu_memory_mb": "largest memory of the GPU"}
    rows = []
    for name, shown in told.items():
        values = [run.summary.get(name) for run in runs]
        if any(isinstance(value, int | float) for value in values):
            cells = [shown(value) if isinstance(value, int | float) else "–" for value in values]
            rows.append((said.get(name, name), cells))
    return rows


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"
