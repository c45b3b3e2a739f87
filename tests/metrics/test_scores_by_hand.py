"""The notebook that works out one caption's BLEU and CIDEr by hand runs, and comes to our numbers."""

import re
from pathlib import Path

import pytest

NOTEBOOK = Path(__file__).resolve().parents[2] / "notebooks" / "scores_by_hand.ipynb"


def test_the_hand_and_the_package_agree() -> None:
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells), "outputs are not to be committed"
    nbclient.NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(NOTEBOOK.parents[1])}}).execute()
    printed = "".join(output.get("text", "") for cell in notebook.cells for output in cell.get("outputs", []))
    agreed = re.findall(r"(BLEU-\d|CIDEr)  by hand (\S+)  captioning (\S+)", printed)
    assert [name for name, *_ in agreed] == ["BLEU-1", "BLEU-2", "BLEU-3", "BLEU-4", "CIDEr"]
    assert all(0 < float(hand) == pytest.approx(float(ours), abs=2e-6) for _, hand, ours in agreed)
    # The numbers that the introduction promises.
    promised = re.search(r"BLEU-4 ([\d.]+)\*\s+and \*CIDEr (\d+)", notebook.cells[0].source)
    assert promised is not None
    assert promised.groups() == (f"{100 * float(agreed[3][2]):.1f}", f"{100 * float(agreed[4][2]):.0f}")
