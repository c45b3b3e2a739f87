"""Comparison of captioners: scores on the same images with their uncertainty, and properties of the captions."""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property

from captioning.core.measure import Measure
from captioning.metrics.bootstrap import bootstrap, interval, p_value
from captioning.metrics.diversity import Diversity, diversity
from captioning.metrics.metric import Metric, Pairs, UnavailableError, measures_of
from captioning.metrics.ngrams import Floats
from captioning.metrics.references import References
from captioning.metrics.scores import Scores, coco_metrics
from captioning.text.registry import without_faults

log = logging.getLogger(__name__)


class ByImage(Mapping[str, Floats]):
    """``(N,)`` each, the scores of each image by measure name: computed on first use.

    Those of very many images are better taken from ``rows``, which computes some after the others.
    """

    def __init__(self, scores: Scores) -> None:
        """Take the statistics."""
        self._scores = scores

    def rows(self, names: Sequence[str]) -> Iterator[list[float | str]]:
        """The scores of one image after the other by some measures, and empty texts for others."""
        for block in self._scores.blocks_of_images():
            columns = [block.get(name) for name in names]
            for place in range(len(next(iter(block.values()), ()))):
                yield ["" if each is None else each[place] for each in columns]

    @cached_property
    def _values(self) -> dict[str, Floats]:
        return self._scores.images()

    def __getitem__(self, name: str) -> Floats:
        """The scores by a measure."""
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        """One measure after the other."""
        return iter(self._scores.measures)

    def __len__(self) -> int:
        """The number of measures."""
        return len(self._scores.measures)


@dataclass(frozen=True)
class Report:
    """The results of one captioner.

    Attributes:
        name: the captioner's name in tables.
        measures: the measures by name, with direction and scale.
        scores: the corpus scores by measure name, ×1: 0 to 1, CIDEr 0 to 10.
        intervals: the 95 % intervals of the bootstrap; empty without a bootstrap.
        p_values: the p-value of each difference from the first report; empty for the first report.
        diversity: the diversity of the captions.
        images: the scores of each image.
    """

    name: str
    measures: dict[str, Measure]
    scores: dict[str, float]
    intervals: dict[str, tuple[float, float]]
    p_values: dict[str, float]
    diversity: Diversity
    images: ByImage


def compare(
    captions: Mapping[str, Sequence[str]],
    references: References | Sequence[Sequence[str]],
    *,
    metrics: Iterable[Metric] | None = None,
    training: Sequence[str] | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> list[Report]:
    """Score captioners on the same images, with intervals of the scores and p-values of the differences.

    Args:
        captions: one caption per image, by captioner name; all others are compared with the first captioner.
        references: the prepared references, or the references of each image as written.
        metrics: the metrics to compute; by default coco-caption's. An unavailable metric is left out with a warning.
        training: all captions of the training set, for the fraction of novel captions.
        resamples: the number of resamples of the bootstrap, 0 for no bootstrap.
        seed: the seed of the bootstrap.

    Raises:
        CaptioningError: numbers of images differ, an image has no reference, or a metric is invalid.
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
            diversity=diversity(candidates, prepared.texts, training, without_faults(prepared.tokenizer)),
            images=ByImage(score),
        )
        for number, ((name, candidates), score, values) in enumerate(zip(captions.items(), scores, drawn, strict=True))
    ]


def _score(metrics: list[Metric], pairs: Pairs) -> Scores:
    """The scores by all available metrics; unavailable metrics are removed from the list."""
    if pairs.prepared.are_many:  # a block's tokens and n-grams are forgotten after use: all metrics share them
        with suppress(UnavailableError):
            return Scores.of(metrics, pairs)
    parts = []
    for metric in list(metrics):
        try:
            parts.append(Scores.of([metric], pairs))
        except UnavailableError as error:
            log.warning("%s", error)
            metrics.remove(metric)  # the metric would fail again
    return Scores(
        tuple(metric for part in parts for metric in part.metrics),
        tuple(statistics for part in parts for statistics in part.statistics),
    )
