"""METEOR 1.5 for English, as in coco-caption: the authors' program aligns words, this module computes the score.

Denkowski and Lavie, "Meteor Universal: Language Specific Translation Evaluation for Any Target Language" (2014),
section 2, with the program's parameters for English. The program needs Java and ``captioning[java]``.
"""

import numpy as np

from captioning.metrics.java import TIMEOUT, conversation, package, require, sentence
from captioning.metrics.metric import Metric, Pairs
from captioning.metrics.ngrams import Floats

ALPHA, BETA, GAMMA, DELTA = 0.85, 0.20, 0.60, 0.75
WEIGHTS = np.array([1.0, 0.6, 0.8, 0.6])  # the weights of matches of words, stems, synonyms, paraphrases


class Meteor(Metric):
    """METEOR of the corpus, 0 to 1, from summed counts of matches."""

    name = "METEOR"

    def __init__(self, timeout: float = TIMEOUT) -> None:
        """Take the seconds after which a silent program is killed."""
        self.timeout = timeout

    def statistics(self, pairs: Pairs) -> Floats:
        """``(N, 23)``: the program's counts for each image, against the best-matching reference.

        The counts come in pairs, candidate and reference: words, function words; matching content words, matching
        function words of each of four kinds of match. The number of chunks and the matched words of candidate and
        reference follow. A candidate equal to its reference counts as no chunk.

        Raises:
            UnavailableError: Java or the program is missing, died, hung or answered nonsense.
        """
        jar = package(self.name) / "meteor" / "meteor-1.5.jar"
        require(self.name, jar, jar.parent / "data" / "paraphrase-en.gz")
        command = ["-Xmx2G", "-jar", jar.name, "-", "-", "-stdio", "-l", "en", "-norm"]
        both = zip(pairs.candidate_tokens, pairs.reference_tokens, strict=True)
        questions = [" ||| ".join(["SCORE", *map(sentence, [*captions, candidate])]) for candidate, captions in both]
        rows = []
        with conversation(self.name, command, jar.parent, self.timeout) as (ask, read):
            for question in questions:
                ask(question)
                row = [float(count) for count in read().split()]
                if len(row) != 23:
                    raise ValueError(f"{len(row)} counts instead of 23")
                rows.append(row)
        counts = np.array(rows)
        same = (counts[:, 20] == 1) & (counts[:, 21] == counts[:, 0]) & (counts[:, 22] == counts[:, 1])
        counts[same, 20] = 0
        return counts

    def score(self, sums: Floats, images: Floats) -> Floats:
        """``(…, 1)``: the weighted harmonic mean of precision and recall, times the penalty of fragmentation."""
        length, function = sums[..., 0:2], sums[..., 2:4]  # of candidate and reference
        matches = sums[..., 4:20].reshape(
            *sums.shape[:-1], 4, 2, 2
        )  # kind, content or function, candidate or reference
        weighed = DELTA * matches[..., 0, :] + (1 - DELTA) * matches[..., 1, :]
        weighed_length = DELTA * (length - function) + (1 - DELTA) * function
        with np.errstate(divide="ignore", invalid="ignore"):  # nothing matches, or there are no words
            precision, recall = np.moveaxis((WEIGHTS[:, None] * weighed).sum(-2) / weighed_length, -1, 0)
            mean = 1 / ((1 - ALPHA) / precision + ALPHA / recall)
            fragmentation = sums[..., 20] / ((sums[..., 21] + sums[..., 22]) / 2)
            scores: Floats = np.nan_to_num(mean * (1 - GAMMA * fragmentation**BETA))
        return scores[..., None]
