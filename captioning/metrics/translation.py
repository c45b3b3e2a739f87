"""BLEU and chrF of translations as sacrebleu computes them, from the detokenized texts.

Post, "A Call for Clarity in Reporting BLEU Scores" (WMT 2018, arXiv 1804.08771): scores of differently tokenized texts
do not compare, so the score has its own tokenizer (``13a``), and a signature says what was computed. Popović, "chrF:
character n-gram F-score for automatic MT evaluation" (WMT 2015).

Dimensions: N sentences, K statistics.
"""

from abc import abstractmethod
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from captioning.metrics.metric import Metric, Pairs, UnavailableError
from captioning.metrics.ngrams import Floats

ORDERS = 4  # of BLEU's words
CHARACTERS = 6  # of chrF's n-grams
BETA = 2.0  # recall counts β² times as much as precision


class TranslationMetric(Metric):
    """A metric of sacrebleu, with its signature."""

    @abstractmethod
    def scorer(self) -> Any:
        """The metric of sacrebleu."""

    def signature(self, references: Sequence[Sequence[str]]) -> str:
        """Sacrebleu's signature, such as ``nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp|version:2.6.0``.

        Args:
            references: the references of each sentence.
        """
        scorer, most = self.scorer(), max(map(len, references))
        streams = [[each[place] if place < len(each) else None for each in references] for place in range(most)]
        scorer.corpus_score([each[0] for each in references], streams)  # the signature counts the references
        return str(scorer.get_signature())


class SacreBleu(TranslationMetric):
    """BLEU with the tokenizer 13a and sacrebleu's exponential smoothing; of one sentence with its effective order."""

    name = "BLEU"

    def __init__(self, lowercase: bool = False, tokenize: str = "13a") -> None:
        """Take the settings.

        Args:
            lowercase: whether upper and lower case are one.
            tokenize: a tokenizer of sacrebleu: ``13a``, ``intl``, ``char``, ``zh``, …
        """
        self.lowercase, self.tokenize = lowercase, tokenize

    def scorer(self) -> Any:
        """See ``TranslationMetric.scorer``."""
        return _library().BLEU(lowercase=self.lowercase, tokenize=self.tokenize)

    def statistics(self, pairs: Pairs) -> Floats:
        """``(N, 10)``: clipped n-grams in a reference (4), n-grams (4), words of the candidate, of the reference."""
        scorer = _library().BLEU(lowercase=self.lowercase, tokenize=self.tokenize, effective_order=True)
        found = [
            scorer.sentence_score(candidate, list(references))
            for candidate, references in zip(pairs.candidates, pairs.references, strict=True)
        ]
        return np.array([[*each.counts, *each.totals, each.sys_len, each.ref_len] for each in found], dtype=np.float64)

    def score(self, sums: Floats, images: Floats) -> Floats:
        """``(…, 1)``: the geometric mean of the precisions, times the brevity penalty.

        The n-th of k orders without a match has ``1 / (2^i total)`` in place of its precision, i of 1 to k. Orders
        without an n-gram, as single short sentences have, do not count.
        """
        correct, total = sums[..., :ORDERS], sums[..., ORDERS : 2 * ORDERS]
        length, reference = sums[..., -2], sums[..., -1]
        without = (correct == 0) & (total > 0)
        smoothed = np.where(without, 0.5 ** np.cumsum(without, axis=-1), correct)
        there = total > 0
        logs = np.where(there, np.log(np.maximum(smoothed, 1e-300) / np.maximum(total, 1)), 0.0)
        precision = np.exp(logs.sum(-1) / np.maximum(there.sum(-1), 1))
        brevity = np.exp(np.minimum(1 - reference / np.maximum(length, 1), 0))
        nothing = (correct.sum(-1) == 0) | (length == 0)
        scores: Floats = np.where(nothing, 0.0, precision * brevity)[..., None]
        return scores


class ChrF(TranslationMetric):
    """The F-score of character n-grams of one to six, without blanks, β = 2: sacrebleu's ``chrF2``."""

    name = "chrF"

    def scorer(self) -> Any:
        """See ``TranslationMetric.scorer``."""
        return _library().CHRF()

    def statistics(self, pairs: Pairs) -> Floats:
        """``(N, 18)``: for each order the n-grams of the candidate, of the reference, and of both.

        Of several references the one with the highest score counts.
        """
        rows = []
        for candidate, references in zip(pairs.candidates, pairs.references, strict=True):
            each = np.array([_matches(candidate, reference) for reference in references])
            rows.append(each[int(np.argmax(self.score(each, np.ones(len(each)))[:, 0]))])
        return np.array(rows, dtype=np.float64)

    def score(self, sums: Floats, images: Floats) -> Floats:
        """``(…, 1)``: F of the mean precision and the mean recall over the orders that both sides have."""
        said, there, both = (sums[..., place::3] for place in range(3))
        orders = (said > 0) & (there > 0)
        count = np.maximum(orders.sum(-1), 1)
        precision = (both / np.maximum(said, 1) * orders).sum(-1) / count
        recall = (both / np.maximum(there, 1) * orders).sum(-1) / count
        below = BETA**2 * precision + recall
        scores: Floats = ((1 + BETA**2) * precision * recall / np.where(below > 0, below, 1))[..., None]
        return scores


def _matches(candidate: str, reference: str) -> list[float]:
    """For each order the character n-grams of the candidate, of the reference, and of both."""
    found: list[float] = []
    said, there = "".join(candidate.split()), "".join(reference.split())
    for n in range(1, CHARACTERS + 1):
        one = Counter(said[place : place + n] for place in range(len(said) - n + 1))
        other = Counter(there[place : place + n] for place in range(len(there) - n + 1))
        found += [sum(one.values()) if other else 0, sum(other.values()), sum((one & other).values())]
    return found


def _library() -> Any:
    try:
        import sacrebleu.metrics
    except ImportError as error:
        raise UnavailableError(
            "BLEU and chrF of translations need sacrebleu: pip install captioning[translation]"
        ) from (error)
    return sacrebleu.metrics
