"""Scores of a whole split's captions."""

from collections.abc import Mapping, Sequence

from captioning.metrics import References


class Scorer:
    """Scores captions of the photographs of one split; the references are tokenized and counted once."""

    def __init__(self, references: Sequence[Sequence[str]]) -> None:
        """Take the references of each photograph, as written."""
        self.references = References(references)

    def __call__(self, captions: Sequence[str]) -> Mapping[str, float]:
        """One caption a photograph to BLEU-1..4, ROUGE-L and CIDEr, ×1 (not ×100)."""
        return self.references.score(captions).corpus()
