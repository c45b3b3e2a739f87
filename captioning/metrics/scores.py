"""Scores of captions by any metrics: of the corpus, of each image, and of resampled corpora."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from captioning.core.build import build
from captioning.core.measure import Measure
from captioning.core.spilled import Spilled
from captioning.metrics.bleu import Bleu
from captioning.metrics.cider import Cider
from captioning.metrics.frequencies import DocumentFrequencies
from captioning.metrics.meteor import Meteor
from captioning.metrics.meteor.tables import installed
from captioning.metrics.metric import Metric, Pairs, measures_of, scores_of, statistics_of
from captioning.metrics.ngrams import Floats
from captioning.metrics.references import MANY, References
from captioning.metrics.rouge import RougeL
from captioning.text.registry import OF_ENGLISH, Tokenizer
from captioning.text.tokenizer import tokenize_coco

Small = Floats | NDArray[np.uint8] | NDArray[np.uint16]
Statistics = Small | Spilled
Weights = Floats | NDArray[np.uint8]


@dataclass(frozen=True)
class Scores:
    """The statistics of N images by any metrics, and the scores that follow from the statistics.

    Attributes:
        metrics: the metrics of the statistics.
        statistics: ``(N, K)`` for each metric; those of very many images are in a temporary file,
            and small whole numbers take a byte or two each.
    """

    metrics: tuple[Metric, ...]
    statistics: tuple[Statistics, ...]

    @classmethod
    def of(cls, metrics: Iterable[Metric], pairs: Pairs) -> "Scores":
        """Compute the statistics.

        Raises:
            CaptioningError: a metric's statistics are invalid, or a metric is unavailable on this machine
                (``UnavailableError``).
        """
        metrics = tuple(metrics)
        if not pairs.prepared.are_many:
            return cls(metrics, tuple(statistics_of(metric, pairs) for metric in metrics))
        found = [Spilled() if each.by_image else Spilled.of(_small(statistics_of(each, pairs))) for each in metrics]
        for block in pairs.blocks():
            for metric, parts in zip(metrics, found, strict=True):
                if metric.by_image:
                    parts.append(_small(statistics_of(metric, block)))
        return cls(metrics, tuple(found))

    def __len__(self) -> int:
        """The number of images N."""
        return len(self.statistics[0]) if self.statistics else 0

    @property
    def measures(self) -> dict[str, Measure]:
        """The measures by name, in the order of all scores."""
        return measures_of(self.metrics)

    def corpus(self) -> dict[str, float]:
        """The scores over all images, by the measures' names, ×1 (not ×100)."""
        once = np.broadcast_to(np.uint8(1), (1, len(self)))
        return {name: float(values[0]) for name, values in self.resampled(once).items()}

    def images(self) -> dict[str, Floats]:
        """``(N,)`` each: the scores of each image alone (CIDEr with the corpus's document frequencies)."""
        parts = [*self.blocks_of_images()]
        return {name: np.concatenate([part[name] for part in parts]) for name in self.measures}

    def blocks_of_images(self) -> Iterator[dict[str, Floats]]:
        """``images`` of some images after the other."""
        for begin, end in self._blocks():
            yield self._of((each[begin:end].astype(np.float64) for each in self.statistics), np.ones(end - begin))

    def resampled(self, weights: Weights) -> dict[str, Floats]:
        """The scores of B corpora in which image i occurs ``weights[b, i]`` times, ``(B,)`` each.

        Args:
            weights: ``(B, N)``.
        """
        images = weights.sum(1).astype(np.float64)
        return self._of((self._sums(weights, each) for each in self.statistics), images)

    def _sums(self, weights: Weights, statistics: Statistics) -> Floats:
        """``(B, K)``: the weighted sums of one metric's statistics."""
        total = np.zeros((len(weights), statistics[:1].shape[1]))
        for begin, end in self._blocks():
            total += np.array(weights[:, begin:end], np.float64, order="C") @ statistics[begin:end]
        return total

    def _blocks(self) -> Iterator[tuple[int, int]]:
        """The first image of each block, and one after its last: temporary numbers are those of a block."""
        for begin in range(0, len(self), MANY):
            yield begin, min(begin + MANY, len(self))

    def _of(self, sums: Iterable[Floats], images: Floats) -> dict[str, Floats]:
        return {
            name: values
            for metric, each in zip(self.metrics, sums, strict=True)
            for name, values in scores_of(metric, each, images).items()
        }


def _small(statistics: Floats) -> Small:
    """The same numbers in a byte or two each, if they are small whole ones."""
    if not ((statistics >= 0) & (statistics <= np.iinfo(np.uint16).max)).all():
        return statistics
    whole = statistics.astype(np.uint16)
    if not np.array_equal(whole, statistics):
        return statistics
    return whole.astype(np.uint8) if whole.max(initial=0) <= np.iinfo(np.uint8).max else whole


class Scorer:
    """A scorer of many sets of captions of the same images; the references are tokenized and counted once.

    Attributes:
        metrics: the metrics to compute.
        measures: the measures of the metrics, by name.
        references: the references of the images.
    """

    def __init__(self, metrics: Iterable[Metric], references: References | Sequence[Sequence[str]]) -> None:
        """Take the metrics and the references.

        Args:
            metrics: the metrics to compute.
            references: the prepared references, or the references of each image as written.

        Raises:
            CaptioningError: two measures have the same name, there is no image, or an image has no reference.
        """
        self.metrics = tuple(metrics)
        self.measures = measures_of(self.metrics)
        self.references = references if isinstance(references, References) else References(references)

    def score(self, candidates: Sequence[str]) -> Scores:
        """Score one caption per image, in the images' order.

        Raises:
            CaptioningError: the numbers of candidates and images differ, or a metric is invalid.
        """
        return Scores.of(self.metrics, Pairs(self.references, candidates))


def coco_metrics(frequencies: DocumentFrequencies | None = None) -> list[Metric]:
    """The metrics of ``conf/metrics/coco.yaml``: BLEU-1 to -4, ROUGE-L and CIDEr.

    Args:
        frequencies: fixed document frequencies for CIDEr; by default those of the references.
    """
    return [Bleu(), RougeL(), Cider(frequencies)]


def installed_metrics(tokenizer: Tokenizer = tokenize_coco, beside: Sequence[Metric] = ()) -> list[Metric]:
    """METEOR where its tables are installed; no metric elsewhere.

    Args:
        tokenizer: the tokenizer of the captions; METEOR knows English alone.
        beside: the metrics that there are already, perhaps METEOR.
    """
    known = tokenizer in OF_ENGLISH and installed() and Meteor.name not in measures_of(beside)
    return [Meteor()] if known else []


def build_metrics(config: Mapping[str, Mapping[str, Any]]) -> list[Metric]:
    """The metrics of a configuration, ``{"bleu": {"_target_": "captioning.metrics.Bleu"}, …}``.

    Raises:
        CaptioningError: an entry names no metric, or two measures have the same name.
    """
    metrics = [build(settings, Metric) for settings in config.values()]
    measures_of(metrics)
    return metrics


def score_captions(
    candidates: Sequence[str],
    references: Sequence[Sequence[str]],
    frequencies: DocumentFrequencies | None = None,
    tokenizer: Tokenizer = tokenize_coco,
) -> dict[str, float]:
    """BLEU-1 to -4, ROUGE-L (0 to 1) and CIDEr (0 to 10) of captions, as coco-caption computes them.

    Args:
        candidates: one caption per image, as generated.
        references: the references of each image, as written.
        frequencies: fixed document frequencies for CIDEr; by default those of the references.
        tokenizer: the tokenizer; by default coco-caption's.

    Raises:
        CaptioningError: numbers of images differ, or an image has no reference.
    """
    return Scorer(coco_metrics(frequencies), References(references, tokenizer)).score(candidates).corpus()
