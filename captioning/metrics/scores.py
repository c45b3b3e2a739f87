"""Scores of images, and what they come to over a corpus.

BLEU of a corpus is no mean of the images' BLEU but comes from sums of counts over them; the same function serves the
corpus, one image, and the resampled corpora of the bootstrap.
"""

from dataclasses import dataclass

import numpy as np

from captioning.metrics.ngrams import ORDERS, Floats, Integers

NAMES = (*(f"BLEU-{n}" for n in range(1, ORDERS + 1)), "ROUGE-L", "CIDEr")

# coco-caption's guards against division by zero.
_TINY, _SMALL = 1e-15, 1e-9


@dataclass(frozen=True)
class Scores:
    """What was counted of each of N images.

    Attributes:
        correct: ``(N, 4)`` n-grams of the candidate that are in a reference, clipped.
        lengths: ``(N,)`` words of the candidate.
        reference_lengths: ``(N,)`` words of the reference closest in length.
        rouge_l: ``(N,)``, 0 to 1.
        cider: ``(N,)``, 0 to 10.
    """

    correct: Floats
    lengths: Integers
    reference_lengths: Integers
    rouge_l: Floats
    cider: Floats

    def __len__(self) -> int:
        """N."""
        return len(self.lengths)

    def corpus(self) -> dict[str, float]:
        """The scores over all images, by the names in ``NAMES``."""
        return {name: float(values[0]) for name, values in self.resampled(np.ones((1, len(self)))).items()}

    def images(self) -> dict[str, Floats]:
        """``(N,)`` each: the scores of each image alone (CIDEr with the corpus's document frequencies)."""
        bleu = _bleu(self.correct, self._guessed(), self.lengths, self.reference_lengths)
        return dict(zip(NAMES, (*bleu, self.rouge_l, self.cider), strict=True))

    def resampled(self, weights: Floats) -> dict[str, Floats]:
        """The scores of B corpora in which image i occurs ``weights[b, i]`` times, ``(B,)`` each.

        Args:
            weights: ``(B, N)``, rows of the same sum.
        """
        bleu = _bleu(
            weights @ self.correct, weights @ self._guessed(), weights @ self.lengths, weights @ self.reference_lengths
        )
        means = [weights @ values / weights.sum(1) for values in (self.rouge_l, self.cider)]
        return dict(zip(NAMES, (*bleu, *means), strict=True))

    def _guessed(self) -> Floats:
        """``(N, 4)``: the candidates' numbers of n-grams."""
        guessed: Floats = np.maximum(self.lengths[:, None] - np.arange(ORDERS), 0).astype(np.float64)
        return guessed


def _bleu(correct: Floats, guessed: Floats, length: Floats | Integers, reference: Floats | Integers) -> Floats:
    """BLEU-1 to -4 ``(4, B)`` from counts ``(B, 4)`` and lengths ``(B,)``; the paper's section 2.3, unsmoothed."""
    precisions = np.cumprod((correct + _TINY) / (guessed + _SMALL), axis=1)
    geometric = precisions ** (1 / np.arange(1, ORDERS + 1))
    ratio = (length + _TINY) / (reference + _SMALL)
    with np.errstate(over="ignore"):
        brevity = np.exp(np.minimum(1 - 1 / ratio, 0))
    scores: Floats = (geometric * brevity[:, None]).T
    return scores
