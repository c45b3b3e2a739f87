"""From a network that has read a text to the units that mean something: a table, coloured texts, saturated gates."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from captioning.analysis.candidates import Candidate, Part, find_candidates
from captioning.analysis.recording import Recording
from captioning.analysis.saturation import draw_saturation
from captioning.analysis.text_features import Feature, varying
from captioning.core.ownership import write_json_output
from captioning.report.coloured_text import draw_text, write_html


@dataclass(frozen=True)
class Reading:
    """What a network has read.

    Attributes:
        pieces: the M pieces of the text, see ``coloured_text``.
        features: ``(M,)`` each, by name, see ``text_features``.
        recording: what every unit did.
    """

    pieces: list[str]
    features: Mapping[str, Feature]
    recording: Recording

    def candidates(self) -> list[Candidate]:
        """The unit that follows each feature best in the first half, with its score on the second."""
        return find_candidates(self.recording.units, *self.halves())

    def halves(self) -> tuple[Part, Part]:
        """The first and the second half of the text, or of the sequences where there are several."""
        lengths, middle = self.recording.lengths, self.recording.middle
        N = len(lengths) // 2
        first, second = (lengths[:N], lengths[N:]) if N else ((middle,), (lengths[0] - middle,))
        return self._part(slice(middle), first), self._part(slice(middle, None), second)

    def _part(self, positions: slice, lengths: Sequence[int]) -> Part:
        features = varying({name: feature[positions] for name, feature in self.features.items()})
        return Part(self.recording.values[positions], features, lengths)

    def write(self, candidates: list[Candidate], folder: Path, drawn: int = 2000) -> None:
        """Write a table, and draw what the units found do on the second half of the text.

        Writes ``cells.json``, ``cells.html``, a PNG for each feature (``inside_quotes.png``) and, where the cells have
        gates, ``gates.png``.

        Args:
            candidates: the units.
            folder: where to.
            drawn: how many pieces of the text to draw.
        """
        part = slice(self.recording.middle, self.recording.middle + drawn)
        pieces, sections = self.pieces[part], []
        for one in candidates:
            values = self.recording.of(one.unit)[part]
            title = f"{one.feature}: {one.unit}, r = {one.held_out:.2f}"
            sections.append((title, values))
            draw_text(title, pieces, values, folder / f"{one.feature.replace(' ', '_')}.png")
        write_html("Units that follow a feature of the text", sections, pieces, folder / "cells.html")
        table = [{**asdict(one), "unit": str(one.unit), "convincing": one.convincing} for one in candidates]
        positions = {"found on": self.recording.middle, "held out": len(self.pieces) - self.recording.middle}
        write_json_output(folder / "cells.json", {"positions": positions, "candidates": table})
        if self.recording.gates:
            draw_saturation(self.recording.gates, folder / "gates.png")
