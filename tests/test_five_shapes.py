"""The five shapes of the lecture, each trained in seconds: the notebook's code, and the page that quotes it."""

import json
import re
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import pytest

ROOT = Path(__file__).resolve().parents[1]
SHAPES = ("one to one", "one to many", "many to one", "many to many", "in step")


def code() -> list[str]:
    """The code cells of the notebook."""
    cells = json.loads((ROOT / "notebooks" / "five_shapes.ipynb").read_text("utf-8"))["cells"]
    return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]


def test_each_shape_is_learned_by_the_same_cell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plt, "figure", lambda *args, **settings: None)
    names: dict[str, Any] = {}
    for cell in code():
        if not re.search(r"plt\.(subplots|figure)", cell):  # the drawings are the notebook's
            exec(cell, names)
    assert tuple(names["shares"]) == SHAPES
    for shape, share in names["shares"].items():
        assert share > 0.95, shape
    parts = ("network", "captioner", "reader", "encoder", "writer", "watcher")
    cells = [part for name in parts for part in names[name].modules() if isinstance(part, names["CELL"])]
    assert len(cells) == len(parts)  # one layer of the cell in each


def test_the_page_quotes_the_notebook() -> None:
    page = (ROOT / "docs" / "five_shapes.md").read_text("utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    assert len(blocks) == len(SHAPES)
    everything = "\n".join(code())
    for block in blocks:
        assert block.strip() in everything, block
