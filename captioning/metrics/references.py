"""BLEU, ROUGE-L and CIDEr of captions against references that are read once and scored against often.

Sources: Papineni et al., "BLEU" (2002); Lin, "ROUGE" (2004); Vedantam et al., "CIDEr" (arXiv:1411.5726). Equal to
coco-caption's numbers, so that captioners can be compared, and three things about those are worth knowing:

- coco-caption's "CIDEr" is CIDEr-D in all but name: clipped counts and a Gaussian penalty on the difference of lengths
  (σ = 6), times ten;
- its document frequencies are those of the references being scored. The score of an image therefore depends on which
  other images are scored with it: score a whole split at once, never per batch or per rank, or give fixed ones;
- ROUGE-L takes the maxima of precision and recall over the references apart.

Dimensions: N images, R references in all, C candidates, G n-grams, K pairs of an image and an n-gram of its references.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from captioning.core.errors import CaptioningError
from captioning.metrics.ngrams import ORDERS, Floats, Integers, NGramCounts, NGramIndex, count_ngrams
from captioning.metrics.rouge import rouge_l
from captioning.metrics.scores import Scores
from captioning.text.tokenizer import tokenize_each

SIGMA = 6.0

Tokenizer = Callable[[Sequence[str]], list[list[str]]]


@dataclass(frozen=True)
class DocumentFrequencies:
    """In the references of how many images each n-gram occurs.

    Attributes:
        index: the n-grams.
        count: ``(G,)`` images.
        images: of how many images in all.
    """

    index: NGramIndex
    count: Integers
    images: int

    def weights(self, index: NGramIndex) -> Floats:
        """``(G',)`` inverse document frequencies of another index's n-grams: log images - log max(1, count)."""
        if index is self.index:
            count = self.count
        else:
            place = index.locate(self.index)
            count = np.where(place >= 0, self.count[place], 0) if len(self.count) else np.zeros_like(place)
        weights: Floats = np.log(max(self.images, 1)) - np.log(np.maximum(count, 1))
        return weights


class References:
    """The references of some images, tokenized and counted once.

    Attributes:
        frequencies: the document frequencies that CIDEr weighs n-grams by.
    """

    def __init__(
        self,
        references: Sequence[Sequence[str]],
        frequencies: DocumentFrequencies | None = None,
        tokenizer: Tokenizer = tokenize_each,
    ) -> None:
        """Tokenize and count.

        Args:
            references: of each image, as written; one or more.
            frequencies: fixed document frequencies, as of a training set's references; by default those of these
                references, as in coco-caption.
            tokenizer: for these and for the candidates: ``tokenize_file`` to be compatible with coco-caption's faults.

        Raises:
            CaptioningError: there is no image, or one without references.
        """
        without = [image for image, captions in enumerate(references) if not captions]
        if without or not references:
            raise CaptioningError(
                f"{len(without)} of {len(references)} images have no reference to score against (the first: "
                f"number {without[0] if without else '-'}). Leave them out, or give references."
            )
        self._tokenizer = tokenizer
        tokens = iter(tokenizer([caption for captions in references for caption in captions]))
        self._tokens = [[next(tokens) for _ in captions] for captions in references]
        self._per_image = np.fromiter(map(len, references), np.int64, len(references))  # (N,)
        self._first = np.cumsum(self._per_image) - self._per_image  # (N,), an image's first reference

        counts = count_ngrams([caption for captions in self._tokens for caption in captions])
        self._index, self._lengths = counts.index, counts.lengths  # (R,)
        image = np.repeat(np.arange(len(references)), self._per_image)[counts.caption]
        key = image * len(self._index) + counts.ngram
        by_key = np.argsort(key, kind="stable")
        key = key[by_key]
        # For each image and n-gram: which references have it, and how often.
        self._reference, self._count = counts.caption[by_key], counts.count[by_key]
        self._start = np.flatnonzero(np.diff(key, prepend=-1))  # (K,)
        self._keys = key[self._start]  # (K,), rising
        self._stop = np.append(self._start[1:], len(key))

        self._most = (
            np.maximum.reduceat(self._count, self._start) if len(key) else self._count
        )  # (K,), what BLEU clips at
        if frequencies is None:
            frequency = np.bincount(self._keys % max(len(self._index), 1), minlength=len(self._index))
            frequencies = DocumentFrequencies(self._index, frequency, len(references))
        self.frequencies = frequencies
        self._weights = frequencies.weights(self._index)  # (G,)
        self._norms = _norms(counts, self._weights)  # (R, 4)

    def __len__(self) -> int:
        """N."""
        return len(self._per_image)

    def score(self, candidates: Sequence[str]) -> Scores:
        """BLEU-1 to -4, ROUGE-L and CIDEr of one caption an image, in the images' order.

        Raises:
            CaptioningError: there are not as many candidates as images.
        """
        if len(candidates) != len(self):
            raise CaptioningError(
                f"{len(candidates)} captions can't be scored against the references of {len(self)} images: give one "
                "caption for each image, in the same order."
            )
        tokens = self._tokenizer(candidates)
        counts = count_ngrams(tokens)
        images = np.arange(len(self))
        match = self._match(counts, images)
        longest = int(max(self._lengths.max(), counts.lengths.max())) + 1
        distance = np.abs(self._lengths - np.repeat(counts.lengths, self._per_image)) * longest + self._lengths
        return Scores(
            correct=_sum(match.clipped, counts, match.pairs),
            lengths=counts.lengths,
            reference_lengths=np.minimum.reduceat(distance, self._first) % longest,  # the closest, of two the shorter
            rouge_l=np.array([rouge_l(*pair) for pair in zip(tokens, self._tokens, strict=True)]),
            cider=self._cider_d(counts, images, match),
        )

    def cider_d(self, candidates: Sequence[str], images: Sequence[int] | Integers) -> Floats:
        """CIDEr-D of any captions: the reward of a batch's samples.

        Meaningful only with fixed document frequencies, or where these references are a whole split's.

        Args:
            candidates: C captions, several to an image if need be.
            images: ``(C,)``, the number of each candidate's image among the references.

        Returns:
            ``(C,)``, 0 to 10.
        """
        counts, numbers = count_ngrams(self._tokenizer(candidates)), np.asarray(images, dtype=np.int64)
        return self._cider_d(counts, numbers, self._match(counts, numbers))

    def _match(self, counts: NGramCounts, images: Integers) -> "_Match":
        place = counts.index.locate(self._index)[counts.ngram]
        known = np.flatnonzero(place >= 0)
        wanted = images[counts.caption[known]] * len(self._index) + place[known]
        key = np.searchsorted(self._keys, wanted)
        key[key == len(self._keys)] = 0
        there = self._keys[key] == wanted if len(self._keys) else np.zeros(0, dtype=bool)
        pairs, keys = known[there], key[there]
        return _Match(pairs, keys, place[pairs], np.minimum(counts.count[pairs], self._most[keys]))

    def _cider_d(self, counts: NGramCounts, images: Integers, match: "_Match") -> Floats:
        own = _norms(counts, self.frequencies.weights(counts.index))  # (C, 4)
        # Each matching n-gram of a candidate with each reference of its image that has it.
        times = self._stop[match.keys] - self._start[match.keys]
        pair = np.repeat(match.pairs, times)
        entry = np.repeat(self._start[match.keys] - (np.cumsum(times) - times), times) + np.arange(times.sum())
        ngram = np.repeat(match.ngrams, times)
        candidate, reference = counts.caption[pair], self._reference[entry]
        order = self._index.order[ngram]
        product = np.minimum(counts.count[pair], self._count[entry]) * self._count[entry] * self._weights[ngram] ** 2
        norm = own[candidate, order] * self._norms[reference, order]
        # Lengths are numbers of pairs of words, as in the original.
        difference = np.maximum(counts.lengths[candidate] - 1, 0) - np.maximum(self._lengths[reference] - 1, 0)
        penalty = np.exp(-(difference**2) / (2 * SIGMA**2))
        cosine = np.divide(product, norm, out=np.zeros_like(norm), where=norm > 0) * penalty
        scores: Floats = 10 * np.bincount(candidate, cosine, len(images)) / (ORDERS * self._per_image[images])
        return scores


@dataclass(frozen=True)
class _Match:
    """The candidates' n-grams that are in a reference of their image.

    Attributes:
        pairs: which pairs of a candidate and an n-gram.
        keys: which pair of an image and an n-gram each is among the references.
        ngrams: which n-gram of the references.
        clipped: the candidate's count, at most the highest in one reference.
    """

    pairs: Integers
    keys: Integers
    ngrams: Integers
    clipped: Integers


def _norms(counts: NGramCounts, weights: Floats) -> Floats:
    """``(C, 4)``: for each caption and order, the length of its vector of count · weight."""
    norms: Floats = np.sqrt(_sum((counts.count * weights[counts.ngram]) ** 2, counts))
    return norms


def _sum(values: Floats | Integers, counts: NGramCounts, pairs: Integers | None = None) -> Floats:
    """``(C, 4)``: the sums by caption and order of values that belong to (some of the) pairs of caption and n-gram."""
    caption, ngram = (counts.caption, counts.ngram) if pairs is None else (counts.caption[pairs], counts.ngram[pairs])
    cell = caption * ORDERS + counts.index.order[ngram]
    sums: Floats = np.bincount(cell, values.astype(np.float64), len(counts.lengths) * ORDERS).astype(np.float64)
    return sums.reshape(-1, ORDERS)


def score_captions(
    candidates: Sequence[str],
    references: Sequence[Sequence[str]],
    frequencies: DocumentFrequencies | None = None,
    tokenizer: Tokenizer = tokenize_each,
) -> dict[str, float]:
    """BLEU-1 to -4, ROUGE-L (0 to 1) and CIDEr (0 to 10) of captions, as coco-caption computes them.

    Args:
        candidates: one caption an image, as generated.
        references: the references of each image, as written.
        frequencies: fixed document frequencies for CIDEr, where they are not to come from the references.
        tokenizer: ``tokenize_file`` to be compatible with coco-caption's faults.

    Raises:
        CaptioningError: numbers of images differ, or an image has no reference.
    """
    return References(references, frequencies, tokenizer).score(candidates).corpus()
