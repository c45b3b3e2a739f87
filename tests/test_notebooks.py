"""The notebooks run from top to bottom without a warning, leave no file behind, and are committed without outputs."""

import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

NOTEBOOKS = {path.stem: path for path in sorted((Path(__file__).resolve().parents[1] / "notebooks").glob("*.ipynb"))}
nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")


def read(name: str) -> Any:
    return nbformat.read(NOTEBOOKS[name], as_version=4)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Any]:
    """A notebook's name to the notebook with its outputs, run once, with small settings, in an empty folder."""

    @cache
    def execute(name: str) -> Any:
        folder = tmp_path_factory.mktemp(name)
        notebook = read(name)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("CAPTIONING_NOTEBOOK_QUICK", "1")
            nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(folder)}}).execute()
        assert not list(folder.iterdir()), "a notebook writes to a temporary folder, not to where it is opened"
        return notebook

    return execute


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_is_committed_without_outputs(name: str) -> None:
    code = [cell for cell in read(name).cells if cell.cell_type == "code"]
    assert code
    assert not any(cell.outputs or cell.execution_count for cell in code)


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_runs_without_a_warning(name: str, run: Callable[[str], Any]) -> None:
    outputs = [output for cell in run(name).cells for output in cell.get("outputs", [])]
    assert [output.text for output in outputs if output.get("name") == "stderr"] == []
    assert any(output.get("name") == "stdout" for output in outputs)


def test_scores_by_hand_are_those_of_the_package(run: Callable[[str], Any]) -> None:
    notebook = run("scores_by_hand")
    printed = "".join(output.get("text", "") for cell in notebook.cells for output in cell.get("outputs", []))
    agreed = re.findall(r"(BLEU-\d|CIDEr)  by hand (\S+)  captioning (\S+)", printed)
    assert [name for name, *_ in agreed] == ["BLEU-1", "BLEU-2", "BLEU-3", "BLEU-4", "CIDEr"]
    assert all(0 < float(hand) == pytest.approx(float(ours), abs=2e-6) for _, hand, ours in agreed)
    # The numbers that the introduction promises.
    promised = re.search(r"BLEU-4 ([\d.]+)\*\s+and \*CIDEr (\d+)", notebook.cells[0].source)
    assert promised is not None
    assert promised.groups() == (f"{100 * float(agreed[3][2]):.1f}", f"{100 * float(agreed[4][2]):.0f}")
