"""BLEU-1 to -4 as coco-caption computes them: unsmoothed, over a corpus.

Papineni et al., "BLEU: a Method for Automatic Evaluation of Machine Translation" (2002), section 2.3.
"""

import numpy as np

from captioning.core.measure import Measure
from captioning.metrics.metric import Metric, Pairs
from captioning.metrics.ngrams import ORDERS, Floats

# The constants with which coco-caption guards against division by zero.
_TINY, _SMALL = 1e-15, 1e-9


class Bleu(Metric):
    """BLEU-1 to -4, 0 to 1."""

    @property
    def measures(self) -> tuple[Measure, ...]:
        """BLEU-1 to -4."""
        return tuple(Measure(f"BLEU-{order}", higher_is_better=True, scale=100) for order in range(1, ORDERS + 1))

    def statistics(self, pairs: Pairs) -> Floats:
        """``(N, 10)``: clipped n-grams in a reference (4), n-grams (4), words of the candidate, of the reference.

        The reference length is the closest one; of two equally close lengths, the shorter one.
        """
        counts, references = pairs.candidate_ngrams, pairs.prepared
        lengths, reference_lengths = counts.lengths, references.ngrams.counts.lengths
        longest = int(max(reference_lengths.max(), lengths.max())) + 1
        distance = np.abs(reference_lengths - np.repeat(lengths, references.per_image)) * longest + reference_lengths
        closest = np.minimum.reduceat(distance, references.first) % longest
        guessed = np.maximum(lengths[:, None] - np.arange(ORDERS), 0)
        return np.column_stack([counts.sums(pairs.match.clipped, pairs.match.pairs), guessed, lengths, closest])

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
