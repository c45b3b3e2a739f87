"""CIDEr-D, which coco-caption calls CIDEr: clipped counts, a Gaussian penalty on the difference of lengths, times ten.

Vedantam et al., "CIDEr" (arXiv:1411.5726), section 7. coco-caption takes the document frequencies from the references
used in scoring. The score of an image therefore depends on the other images scored at the same time. Score a whole
split at once, never per batch or per rank, or give fixed frequencies.

Dimensions: N images, R references in total, C candidates, G n-grams of the references.
"""

from collections.abc import Sequence

import numpy as np

from captioning.metrics.metric import Metric, Pairs
from captioning.metrics.ngrams import ORDERS, Floats, NGramCounts, count_ngrams
from captioning.metrics.references import DocumentFrequencies, Match, References
from captioning.text.token_numbers import Integers

SIGMA = 6.0


class CiderD:
    """CIDEr-D of any captions, also several per image.

    Attributes:
        references: the references of the images.
        frequencies: the document frequencies that weight the n-grams.
    """

    def __init__(self, references: References, frequencies: DocumentFrequencies | None = None) -> None:
        """Weight the references' n-grams.

        Args:
            references: the references of a whole split; of a part of the images only with fixed frequencies.
            frequencies: fixed document frequencies, such as those of a training set; by default those of
                ``references``, as in coco-caption.
        """
        self.references = references
        self.frequencies = frequencies or references.frequencies
        counts = references.ngrams.counts
        self._weights = self.frequencies.weights(counts.index)  # (G,)
        self._norms = _norms(counts, self._weights)  # (R, 4)
        self._order = counts.index.order  # (G,)

    def __call__(self, candidates: Sequence[str], images: Sequence[int] | Integers) -> Floats:
        """Score captions.

        Args:
            candidates: C captions.
            images: ``(C,)`` the number of each candidate's image among the references.

        Returns:
            ``(C,)``, 0 to 10.
        """
        counts = count_ngrams(self.references.tokenizer(candidates))
        numbers = np.asarray(images, dtype=np.int64)
        return self.of(counts, numbers, self.references.ngrams.match(counts, numbers))

    def of(self, counts: NGramCounts, images: Integers, match: Match) -> Floats:
        """Score captions with counted n-grams.

        Args:
            counts: the n-gram counts of C candidates.
            images: ``(C,)`` the number of each candidate's image.
            match: the candidates' n-grams that occur in a reference of their image.

        Returns:
            ``(C,)``, 0 to 10.
        """
        pair, part = self.parts(counts, images, match)
        scores: Floats = np.bincount(counts.caption[pair], part, len(images)).astype(np.float64)
        return scores

    def parts(self, counts: NGramCounts, images: Integers, match: Match) -> tuple[Integers, Floats]:
        """The parts of the scores: what each n-gram of a candidate adds by each reference that has it, too.

        Args:
            counts: the n-gram counts of C candidates.
            images: ``(C,)`` the number of each candidate's image.
            match: the candidates' n-grams that occur in a reference of their image.

        Returns:
            The number of each part's pair of a candidate and an n-gram, and the parts, whose sum is CIDEr-D.
        """
        ngrams, per_image = self.references.ngrams, self.references.per_image
        known = ngrams.counts
        own = _norms(counts, self.frequencies.weights(counts.index))  # (C, 4)
        # Pairs each matching n-gram of a candidate with each reference of the candidate's image that has the n-gram.
        times = ngrams.stop[match.keys] - ngrams.start[match.keys]
        pair = np.repeat(match.pairs, times)
        entry = np.repeat(ngrams.start[match.keys] - (np.cumsum(times) - times), times) + np.arange(times.sum())
        ngram = np.repeat(match.ngrams, times)
        candidate, reference = counts.caption[pair], known.caption[entry]
        order = self._order[ngram]
        product = np.minimum(counts.count[pair], known.count[entry]) * known.count[entry] * self._weights[ngram] ** 2
        norm = own[candidate, order] * self._norms[reference, order]
        # Lengths are numbers of word pairs, as in the original.
        difference = np.maximum(counts.lengths[candidate] - 1, 0) - np.maximum(known.lengths[reference] - 1, 0)
        penalty = np.exp(-(difference**2) / (2 * SIGMA**2))
        cosine = np.divide(product, norm, out=np.zeros_like(norm), where=norm > 0) * penalty
        return pair, 10 * cosine / (ORDERS * per_image[images[candidate]])


class Cider(Metric):
    """CIDEr, 0 to 10: the mean of the images' CIDEr-D."""

    name = "CIDEr"
    by_image = True

    def __init__(self, frequencies: DocumentFrequencies | None = None) -> None:
        """Take fixed document frequencies; by default those of the scored references, as in coco-caption."""
        self.frequencies = frequencies
        self._scorer: CiderD | None = None

    def statistics(self, pairs: Pairs) -> Floats:
        """``(N, 1)``: the CIDEr-D of each image; the weights of the references are kept until the references change."""
        if self._scorer is None or self._scorer.references is not pairs.prepared:
            self._scorer = CiderD(pairs.prepared, self.frequencies)
        return self._scorer.of(pairs.candidate_ngrams, np.arange(len(pairs)), pairs.match)[:, None]


def _norms(counts: NGramCounts, weights: Floats) -> Floats:
    """``(C, 4)``: for each caption and order, the norm of the vector of weighted counts."""
    norms: Floats = np.sqrt(counts.sums((counts.count * weights[counts.ngram]) ** 2))
    return norms
