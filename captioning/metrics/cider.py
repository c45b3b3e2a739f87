"""CIDEr-D, which coco-caption calls CIDEr: clipped counts, a Gaussian penalty on the difference of lengths, times ten.

Vedantam et al., "CIDEr" (arXiv:1411.5726), section 7. coco-caption takes the document frequencies from the references
used in scoring. The score of an image therefore depends on the other images scored at the same time. Score a whole
split at once, never per batch or per rank, or give fixed frequencies.

Dimensions: N images, R references in total, C candidates, G n-grams of the references.
"""

from collections.abc import Sequence

import numpy as np

from captioning.metrics.frequencies import DocumentFrequencies
from captioning.metrics.metric import Metric, Pairs
from captioning.metrics.ngrams import ORDERS, Floats, NGramCounts, count_ngrams
from captioning.metrics.references import Match, References
from captioning.text.token_numbers import Integers, spans

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
        counts = count_ngrams(self.references.tokenizer(candidates), self.references.ngrams.counts.index)
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
        per_image = self.references.per_image[images]
        first = np.cumsum(per_image) - per_image  # of each candidate's pairs with a reference of its image
        candidate = np.repeat(np.arange(len(images)), per_image)
        reference = spans(self.references.first[images], per_image)
        # The sum of the products of each pair, by order.
        matched, times = counts.caption[match.pairs], match.times
        product, known = self._products(counts, match)
        place = np.repeat((first - self.references.first[images])[matched] * ORDERS + self._order[match.ngrams], times)
        place += known.caption[match.entries] * ORDERS
        sums = np.bincount(place, product, len(reference) * ORDERS).reshape(-1, ORDERS)
        norms = self._norms_of(counts)[candidate] * self._norms[reference]
        cosines = np.divide(sums, norms, out=np.zeros_like(norms), where=norms > 0).sum(1)
        similarity = cosines * _penalty(counts.lengths[candidate], known.lengths[reference])
        scores: Floats = np.bincount(candidate, similarity, len(images)) * (10 / ORDERS) / per_image
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
        product, known = self._products(counts, match)
        pair = np.repeat(match.pairs, match.times)
        order = np.repeat(self._order[match.ngrams], match.times)
        candidate, reference = counts.caption[pair], known.caption[match.entries]
        norm = self._norms_of(counts)[candidate, order] * self._norms[reference, order]
        cosine = np.divide(product, norm, out=np.zeros_like(norm), where=norm > 0)
        cosine *= _penalty(counts.lengths[candidate], known.lengths[reference])
        return pair, 10 * cosine / (ORDERS * self.references.per_image[images[candidate]])

    def _products(self, counts: NGramCounts, match: Match) -> tuple[Floats, NGramCounts]:
        """The clipped products of weighted counts, of each match with each reference; the references' counts."""
        known = self.references.ngrams.counts
        count = known.count[match.entries]
        product: Floats = np.minimum(np.repeat(counts.count[match.pairs], match.times), count) * count
        return product * np.repeat(self._weights[match.ngrams] ** 2, match.times), known

    def _norms_of(self, counts: NGramCounts) -> Floats:
        return _norms(counts, self.frequencies.weights(counts.index))


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


def _penalty(length: Integers, other: Integers) -> Floats:
    """The Gaussian penalty on the difference of two captions' lengths, as numbers of word pairs as in the original."""
    difference = np.maximum(length - 1, 0) - np.maximum(other - 1, 0)
    penalty: Floats = np.exp(-(difference**2) / (2 * SIGMA**2))
    return penalty


def _norms(counts: NGramCounts, weights: Floats) -> Floats:
    """``(C, 4)``: for each caption and order, the norm of the vector of weighted counts."""
    norms: Floats = np.sqrt(counts.sums((counts.count * weights[counts.ngram]) ** 2))
    return norms
