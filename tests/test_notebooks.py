"""The notebooks run from top to bottom without a warning, leave no file behind, and are committed without outputs."""

import ast
import io
import re
import subprocess
import sys
import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

NOTEBOOKS = {path.stem: path for path in sorted((Path(__file__).resolve().parents[1] / "notebooks").glob("*.ipynb"))}
IN_A_KERNEL = "scores_by_hand"  # the others run in forks: a kernel imports everything anew
Done = subprocess.CompletedProcess[str]
nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")


def read(name: str) -> Any:
    return nbformat.read(NOTEBOOKS[name], as_version=4)


def code(name: str) -> list[Any]:
    return [cell for cell in read(name).cells if cell.cell_type == "code"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, in_fork: Callable[..., Done]) -> Callable[[str], tuple[str, str]]:
    """A notebook's name to what it prints and to its warnings, run once, with small settings, in an empty folder."""

    @cache
    def execute(name: str) -> tuple[str, str]:
        folder = tmp_path_factory.mktemp(name)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("CAPTIONING_NOTEBOOK_QUICK", "1")
            if name == IN_A_KERNEL:
                printed = in_a_kernel(read(name), folder)
            else:
                done = in_fork(lambda: run_cells([cell.source for cell in code(name)]), cwd=folder)
                assert done.returncode == 0, done.stdout + done.stderr
                printed = done.stdout, done.stderr
        assert not list(folder.iterdir()), "a notebook writes to a temporary folder, not to where it is opened"
        return printed

    return execute


def in_a_kernel(notebook: Any, folder: Path) -> tuple[str, str]:
    nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(folder)}}).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    printed, said = (
        "".join(each.text for each in outputs if each.get("name") == name) for name in ("stdout", "stderr")
    )
    return printed, said


def say(message: Warning | str, category: type[Warning], file: str, line: int, *_: object) -> None:
    print(warnings.formatwarning(message, category, file, line), file=sys.stderr)


def run_cells(sources: list[str]) -> int:
    """Run cells as a kernel does: what ends a cell is shown, and so are its figures."""
    import matplotlib.pyplot as plt

    plt.switch_backend("agg")
    warnings.filterwarnings("default", category=DeprecationWarning, module="__main__")
    warnings.showwarning = say  # pytest has put its own list in the place of standard error
    main = sys.modules["__main__"] = ModuleType("__main__")
    for number, source in enumerate(sources):
        cell = ast.parse(source)
        last = ast.Expression(cell.body.pop().value) if isinstance(cell.body[-1], ast.Expr) else None
        exec(compile(cell, f"cell {number}", "exec"), vars(main))
        if last is not None:
            value = eval(compile(last, f"cell {number}", "eval"), vars(main))
            picture = getattr(value, "_repr_png_", None)
            print(repr(value) if picture is None else f"a picture of {len(picture())} bytes")
        for figure in plt.get_fignums():
            plt.figure(figure).savefig(io.BytesIO(), dpi=40)
        plt.close("all")
    return 0


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_is_committed_without_outputs(name: str) -> None:
    assert code(name)
    assert not any(cell.outputs or cell.execution_count for cell in code(name))


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_runs_without_a_warning(name: str, run: Callable[[str], tuple[str, str]]) -> None:
    printed, said = run(name)
    assert said == ""
    assert printed


def test_scores_by_hand_are_those_of_the_package(run: Callable[[str], tuple[str, str]]) -> None:
    printed, _ = run("scores_by_hand")
    agreed = re.findall(r"(BLEU-\d|CIDEr)  by hand (\S+)  captioning (\S+)", printed)
    assert [name for name, *_ in agreed] == ["BLEU-1", "BLEU-2", "BLEU-3", "BLEU-4", "CIDEr"]
    assert all(0 < float(hand) == pytest.approx(float(ours), abs=2e-6) for _, hand, ours in agreed)
    # The numbers that the introduction promises.
    promised = re.search(r"BLEU-4 ([\d.]+)\*\s+and \*CIDEr (\d+)", read("scores_by_hand").cells[0].source)
    assert promised is not None
    assert promised.groups() == (f"{100 * float(agreed[3][2]):.1f}", f"{100 * float(agreed[4][2]):.0f}")
