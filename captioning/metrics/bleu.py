"""BLEU-1 to -4 as coco-caption computes them: unsmoothed, over a corpus; and the smoothed BLEU-4 of single captions.

Papineni et al., "BLEU: a Method for Automatic Evaluation of Machine Translation" (2002), section 2.3.

Dimensions: N images, C candidates.
"""

import numpy as np

from captioning.core.measure import Measure
from captioning.metrics.metric import Metric, Pairs
from captioning.metrics.ngrams import ORDERS, Floats, NGramCounts
from captioning.metrics.references import Match, References
from captioning.text.token_numbers import Integers

# The constants with which coco-caption guards against division by zero.
_TINY, _SMALL = 1e-15, 1e-9


class Bleu(Metric):
    """BLEU-1 to -4, 0 to 1."""

    by_image = True

    @property
    def measures(self) -> tuple[Measure, ...]:
        """BLEU-1 to -4."""
        return tuple(Measure(f"BLEU-{order}", higher_is_better=True, scale=100) for order in range(1, ORDERS + 1))

    def statistics(self, pairs: Pairs) -> Floats:
        """``(N, 10)``, see ``count_matches``."""
        return count_matches(pairs.candidate_ngrams, pairs.match, pairs.prepared, np.arange(len(pairs)))

    def score(self, sums: Floats, images: Floats) -> Floats:
        """``(…, 4)``: the geometric means of the precisions, times the brevity penalty."""
        correct, guessed = sums[..., :ORDERS], sums[..., ORDERS : 2 * ORDERS]
        length, reference = sums[..., -2], sums[..., -1]
        precisions = np.cumprod((correct + _TINY) / (guessed + _SMALL), axis=-1)
        geometric = precisions ** (1 / np.arange(1, ORDERS + 1))
        ratio = (length + _TINY) / (reference + _SMALL)
        with np.errstate(over="ignore"):
            brevity = np.exp(np.minimum(1 - 1 / ratio, 0))
        scores: Floats = geometric * brevity[..., None]
        return scores


def count_matches(counts: NGramCounts, match: Match, references: References, images: Integers) -> Floats:
    """The statistics of candidates, also several of an image.

    Args:
        counts: the n-gram counts of C candidates.
        match: the candidates' n-grams that occur in a reference of their image.
        references: the references of the images.
        images: ``(C,)``, the number of each candidate's image.

    Returns:
        ``(C, 10)``: clipped n-grams in a reference (4), n-grams (4), words of the candidate, of the reference. The
        reference length is the closest one; of two equally close lengths, the shorter one.
    """
    lengths, reference_lengths = counts.lengths, references.ngrams.counts.lengths
    times = references.per_image[images]
    first = np.cumsum(times) - times  # of each candidate's references among all pairs of a candidate and a reference
    compared = reference_lengths[np.repeat(references.first[images] - first, times) + np.arange(times.sum())]
    longest = int(max(compared.max(initial=0), lengths.max(initial=0))) + 1
    distance = np.abs(compared - np.repeat(lengths, times)) * longest + compared
    closest = np.minimum.reduceat(distance, first) % longest
    guessed = np.maximum(lengths[:, None] - np.arange(ORDERS), 0)
    return np.column_stack([counts.sums(match.clipped, match.pairs), guessed, lengths, closest])


def smoothed_bleu(statistics: Floats) -> Floats:
    """The BLEU-4 of each caption alone, with one more match and one more n-gram in the orders 2 to 4.

    ``p1 = m1 / l1``, ``pn = (mn + 1) / (max(ln, 1) + 1)`` for n of 2 to 4, with mn matches among ln n-grams: Lin & Och,
    "ORANGE: a Method for Evaluating Automatic Evaluation Metrics for Machine Translation" (COLING 2004);
    ``SmoothingFunction().method2`` of nltk. Without smoothing, most captions without a matching 4-gram have BLEU-4 0.

    Args:
        statistics: ``(C, 10)``, see ``count_matches``.

    Returns:
        ``(C,)``, 0 to 1.
    """
    one_more = np.array([0, *[1] * (ORDERS - 1)])
    correct, guessed = statistics[:, :ORDERS] + one_more, np.maximum(statistics[:, ORDERS : 2 * ORDERS], 1) + one_more
    length, reference = np.maximum(statistics[:, -2], 1), statistics[:, -1]
    scores: Floats = (correct / guessed).prod(-1) ** (1 / ORDERS) * np.exp(np.minimum(1 - reference / length, 0))
    return scores
