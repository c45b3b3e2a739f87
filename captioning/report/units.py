"""The report on units along a text: a table, coloured texts, and gate saturations."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from captioning.analysis.candidates import Candidate
from captioning.analysis.units import Watched
from captioning.core.ownership import write_json_output
from captioning.report.coloured_text import draw_text, write_html
from captioning.report.gates import draw_saturation


def write_units(watched: Watched, candidates: Sequence[Candidate], folder: Path, drawn: int = 2000) -> None:
    """Write a table of units, and draw their values on the second half of the text.

    Writes ``cells.json``, ``cells.html``, a PNG for each feature (``inside_quotes.png``) and, for cells with gates,
    ``gates.png``.

    Args:
        watched: the text and the recording of all units.
        candidates: the units.
        folder: the target folder.
        drawn: the number of pieces of the text to draw.
    """
    recording = watched.recording
    part = slice(recording.middle, recording.middle + drawn)
    pieces, sections = watched.pieces[part], []
    for one in candidates:
        values = recording.of(one.unit)[part]
        title = f"{one.feature}: {one.unit}, r = {one.held_out:.2f}"
        sections.append((title, values))
        draw_text(title, pieces, values, folder / f"{one.feature.replace(' ', '_')}.png")
    write_html("Units that follow a feature of the text", sections, pieces, folder / "cells.html")
    table = [{**asdict(one), "unit": str(one.unit), "convincing": one.convincing} for one in candidates]
    positions = {"found on": recording.middle, "held out": len(watched.pieces) - recording.middle}
    write_json_output(folder / "cells.json", {"positions": positions, "candidates": table})
    if recording.gates:
        draw_saturation(recording.gates, folder / "gates.png")
