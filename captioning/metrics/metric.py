"""The protocol of metrics: measures, statistics of each image, and the score of summed statistics.

The BLEU of a corpus is not the mean of the images' BLEU, but a function of counts summed over the images. A metric
therefore gives additive statistics, and one function from summed statistics to scores: of the corpus, of one image, and
of each resampled corpus of the bootstrap. Tables, intervals and monitors use nothing else.

A custom metric is a name and a method::

    class Words(Metric):
        name = "words"

        def statistics(self, pairs):
            return [[len(tokens)] for tokens in pairs.candidate_tokens]

Dimensions: N images, K statistics, M measures.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike

from captioning.core.errors import CaptioningError
from captioning.core.measure import Measure
from captioning.metrics.ngrams import Floats, NGramCounts, count_ngrams
from captioning.metrics.references import Match, References
from captioning.text.registry import number_tokens
from captioning.text.token_numbers import TokenNumbers


class UnavailableError(CaptioningError):
    """A metric that can't be computed on this machine, for lack of Java or a package; other metrics can."""


@dataclass(frozen=True)
class Pairs:
    """One candidate for each of N images, and the images' references.

    Tokens and n-grams are computed on their first use, once for all metrics.

    Attributes:
        prepared: the references.
        candidates: N captions as written, in the order of the images.
    """

    prepared: References
    candidates: Sequence[str]

    def __post_init__(self) -> None:
        """Check the number of candidates.

        Raises:
            CaptioningError: the numbers of candidates and images differ.
        """
        if len(self.candidates) != len(self.prepared):
            raise CaptioningError(
                f"{len(self.candidates)} captions can't be scored against the references of {len(self.prepared)} "
                "images: give one caption for each image, in the same order."
            )

    def __len__(self) -> int:
        """The number of images N."""
        return len(self.prepared)

    def blocks(self) -> "Iterator[Pairs]":
        """The pairs of ``AT_ONCE`` images each."""
        for begin, prepared in self.prepared.blocks():
            yield _Block(prepared, self.candidates[begin : begin + len(prepared)], self.candidates, begin)

    @property
    def references(self) -> Sequence[Sequence[str]]:
        """The references of each image, as written."""
        return self.prepared.texts

    @property
    def reference_tokens(self) -> list[list[list[str]]]:
        """The tokens of each reference of each image."""
        return self.prepared.tokens

    @cached_property
    def candidate_tokens(self) -> list[list[str]]:
        """The tokens of each candidate; one with a blank in it is several words but in ROUGE-L."""
        return self.candidate_numbers.lists()

    @cached_property
    def candidate_numbers(self) -> TokenNumbers:
        """The tokens of all candidates as numbers."""
        return number_tokens(self.prepared.tokenizer, self.candidates)

    @cached_property
    def candidate_ngrams(self) -> NGramCounts:
        """The n-grams of each candidate, of one to four words."""
        return count_ngrams(self.candidate_numbers, self.prepared.ngrams.counts.index)

    @cached_property
    def match(self) -> Match:
        """The candidates' n-grams that occur in a reference of their image."""
        return self.prepared.ngrams.match(self.candidate_ngrams, np.arange(len(self)))


@dataclass(frozen=True)
class _Block(Pairs):
    """Some of many pairs; a tokenizer may look at the caption after a caption."""

    all_candidates: Sequence[str]
    begin: int

    @cached_property
    def candidate_numbers(self) -> TokenNumbers:
        return number_tokens(
            self.prepared.tokenizer, self.all_candidates, self.begin, self.begin + len(self.candidates)
        )


class Metric(ABC):
    """A metric of captions against the images' references.

    Attributes:
        by_image: True if the statistics of an image depend on other images by ``pairs.prepared.frequencies`` at most:
            those of very many images are then computed in blocks.
        name: the name of the one measure in tables, logs and ``monitor=``; by default the class's name.
        higher_is_better: True if greater values of the one measure are better.
        scale: the factor of the one measure in tables, such as 100.
    """

    name: str = ""
    higher_is_better: bool = True
    scale: float = 100.0
    by_image: bool = False

    @property
    def measures(self) -> tuple[Measure, ...]:
        """The measures that ``score`` returns, in the same order; one measure by default."""
        return (Measure(self.name or type(self).__name__, self.higher_is_better, self.scale),)

    @abstractmethod
    def statistics(self, pairs: Pairs) -> ArrayLike:
        """Sufficient statistics of each image.

        Args:
            pairs: candidates and references of N images.

        Returns:
            ``(N, K)`` numbers, a row for each image; ``score`` receives sums of the rows.
        """

    def score(self, sums: Floats, images: Floats) -> ArrayLike:
        """The measures of summed statistics; by default the means.

        Args:
            sums: ``(…, K)`` statistics summed over images.
            images: ``(…,)``, the number of summed images.

        Returns:
            ``(…, M)``, ×1 (not ×100).
        """
        return sums / images[..., None]


def measures_of(metrics: Iterable[Metric]) -> dict[str, Measure]:
    """The measures of metrics by name, in the metrics' order.

    Raises:
        CaptioningError: two measures have the same name.
    """
    measures: dict[str, Measure] = {}
    for metric in metrics:
        for measure in metric.measures:
            if measure.name in measures:
                raise CaptioningError(
                    f"{_path(metric)}: there is a measure {measure.name} already. Name each metric once, and give "
                    "each another name."
                )
            measures[measure.name] = measure
    return measures


def statistics_of(metric: Metric, pairs: Pairs) -> Floats:
    """A metric's statistics ``(N, K)``, checked.

    Raises:
        CaptioningError: the statistics are not numeric, not one row per image, or not finite.
    """
    statistics = _numbers(metric, "statistics", metric.statistics(pairs))
    if statistics.ndim != 2 or len(statistics) != len(pairs):
        raise CaptioningError(
            f"{_path(metric)}: its statistics are of shape {statistics.shape}, and must be (images, numbers of each), "
            f"here ({len(pairs)}, …)."
        )
    return statistics


def scores_of(metric: Metric, sums: Floats, images: Floats) -> dict[str, Floats]:
    """A metric's score of summed statistics, checked: ``(…,)`` for each measure.

    Args:
        metric: the metric of the statistics.
        sums: ``(…, K)`` statistics summed over images.
        images: ``(…,)``, the number of summed images.

    Raises:
        CaptioningError: the scores are not numeric, not one per measure, or not finite.
    """
    scores = _numbers(metric, "scores", metric.score(sums, images))
    expected = (*images.shape, len(metric.measures))
    if scores.shape != expected:
        raise CaptioningError(f"{_path(metric)}: its scores are of shape {scores.shape}, and must be {expected}.")
    return {measure.name: scores[..., place] for place, measure in enumerate(metric.measures)}


def _numbers(metric: Metric, what: str, values: ArrayLike) -> Floats:
    try:
        numbers = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise CaptioningError(f"{_path(metric)}: its {what} are no table of numbers ({error}).") from error
    if not np.isfinite(numbers).all():
        raise CaptioningError(f"{_path(metric)}: its {what} are not all finite (NaN or infinite). Correct the metric.")
    return numbers


def _path(metric: Metric) -> str:
    """A metric's class as a dotted path, as in a configuration."""
    return f"{type(metric).__module__}.{type(metric).__qualname__}"
