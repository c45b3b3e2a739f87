"""A metric: the share of the words of the references that a caption has.

captioning train +metrics.recall._target_=recall.WordRecall monitor=recall
captioning score captions.json --references references.json --metric recall.WordRecall
"""

from captioning import Metric


class WordRecall(Metric):
    """Words of the captions that are right, of all words of the references; higher is better, written ×100."""

    name = "recall"

    def statistics(self, pairs):
        """``(N, 2)``: of each image the different words of its references that the caption has, and all of them."""
        rows = []
        for caption, references in zip(pairs.candidate_tokens, pairs.reference_tokens, strict=True):
            wanted = {word for reference in references for word in reference}
            rows.append([len(wanted & set(caption)), len(wanted)])
        return rows

    def score(self, sums, images):
        """The share over all images together."""
        return sums[..., :1] / sums[..., 1:]
