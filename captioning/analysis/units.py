"""The analysis of a network's units, recorded along a text."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from captioning.analysis.candidates import Candidate, Part, find_candidates
from captioning.analysis.recording import Recording
from captioning.analysis.text_features import Feature, varying


@dataclass(frozen=True)
class Watched:
    """A text, and the recording of a network that read the text.

    Attributes:
        pieces: the M pieces of the text, see ``captioning.report.coloured_text``.
        features: ``(M,)`` each, by name, see ``text_features``.
        recording: the values of every unit.
    """

    pieces: list[str]
    features: Mapping[str, Feature]
    recording: Recording

    def candidates(self) -> list[Candidate]:
        """The unit that follows each feature best in the first half, with its score on the second half."""
        return find_candidates(self.recording.units, *self.halves())

    def halves(self) -> tuple[Part, Part]:
        """The two halves of the text, or of the sequences if there are several."""
        lengths, middle = self.recording.lengths, self.recording.middle
        N = len(lengths) // 2
        first, second = (lengths[:N], lengths[N:]) if N else ((middle,), (lengths[0] - middle,))
        return self._part(slice(middle), first), self._part(slice(middle, None), second)

    def _part(self, positions: slice, lengths: Sequence[int]) -> Part:
        features = varying({name: feature[positions] for name, feature in self.features.items()})
        return Part(self.recording.values[positions], features, lengths)
