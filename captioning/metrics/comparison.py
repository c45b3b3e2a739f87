"""Captioners side by side: their scores on the same images, how sure those are, and what the captions are like."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from captioning.core.measure import Measure
from captioning.metrics.bootstrap import bootstrap, interval, p_value
from captioning.metrics.diversity import Diversity, diversity
from captioning.metrics.metric import Metric, Pairs, UnavailableError, measures_of
from captioning.metrics.references import References
from captioning.metrics.scores import Scores, coco_metrics

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Report:
    """Everything known of one captioner's results.

    Attributes:
        name: of the captioner, for people.
        measures: what was measured, by name: which way is better, and how it is written.
        scores: of the corpus by the measures' names, ×1: 0 to 1, CIDEr 0 to 10.
        intervals: the 95 % intervals of the bootstrap; empty without one.
        p_values: how likely each difference from the first report would be by chance; empty for the first.
        diversity: of the captions.
        images: the scores of each image.
    """

    name: str
    measures: dict[str, Measure]
    scores: dict[str, float]
    intervals: dict[str, tuple[float, float]]
    p_values: dict[str, float]
    diversity: Diversity
    images: dict[str, list[float]]


def compare(
    captions: Mapping[str, Sequence[str]],
    references: References | Sequence[Sequence[str]],
    *,
    metrics: Iterable[Metric] | None = None,
    training: Sequence[str] | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> list[Report]:
    """Score captioners on the same images, and say how sure the scores and the differences are.

    Args:
        captions: one caption an image, by the captioner's name; the others are compared with the first.
        references: prepared, or of each image, as written.
        metrics: to compute; by default coco-caption's. One that is unavailable here is left out with a warning.
        training: all captions of the training set, for the share of captions that are not among them.
        resamples: of the bootstrap, 0 for none.
        seed: of the bootstrap.

    Raises:
        CaptioningError: numbers of images differ, an image has no reference, or a metric is wrong.
    """
    prepared = references if isinstance(references, References) else References(references)
    usable = coco_metrics() if metrics is None else list(metrics)
    measures_of(usable)
    scores = [_score(usable, Pairs(prepared, candidates)) for candidates in captions.values()]
    drawn = bootstrap(scores, resamples, seed) if resamples > 0 and usable else [{} for _ in scores]
    return [
        Report(
            name=name,
            measures=score.measures,
            scores=score.corpus(),
            intervals={measure: interval(each) for measure, each in values.items()},
            p_values={m: p_value(drawn[0][m], each) for m, each in values.items() if m in drawn[0]} if number else {},
            diversity=diversity(candidates, prepared.texts, training),
            images={measure: each.tolist() for measure, each in score.images().items()},
        )
        for number, ((name, candidates), score, values) in enumerate(zip(captions.items(), scores, drawn, strict=True))
    ]


def _score(metrics: list[Metric], pairs: Pairs) -> Scores:
    """The scores by all metrics that are available; the others are taken out of the list."""
    parts = []
    for metric in list(metrics):
        try:
            parts.append(Scores.of([metric], pairs))
        except UnavailableError as error:
            log.warning("%s", error)
            metrics.remove(metric)  # it would fail again
    return Scores(
        tuple(metric for part in parts for metric in part.metrics),
        tuple(statistics for part in parts for statistics in part.statistics),
    )
