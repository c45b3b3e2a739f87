"""The direction of the imports: a caption travels one way through the house, and so do they."""

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "captioning"
FILES = [file for file in sorted(PACKAGE.rglob("*.py")) if file.name != "__init__.py"]
# what each room may use, besides itself: `jobs -> tasks -> training, predict -> runs -> decoders -> cells -> core`, and
# beside them rooms that each know only what lies below them
ALLOWED: dict[str, set[str]] = {
    "core": set(),
    "text": {"core"},
    "cells": {"core"},
    "decoders": {"core", "cells"},
    "encoders": {"core", "cells"},
    "answerers": {"core", "cells", "decoders"},
    "search": {"core", "text"},
    "data": {"core", "text"},
    "metrics": {"core", "text"},
    "analysis": {"core"},
    "report": {"core", "text", "metrics", "analysis"},
    "speed": {"core", "cells", "decoders", "encoders"},
}
ALLOWED["runs"] = {"core", "text", "cells", "decoders", "answerers", "encoders", "search", "speed"}
ALLOWED["predict"] = ALLOWED["runs"] | {"runs"}
ALLOWED["bulk"] = ALLOWED["predict"] | {"predict"}
ALLOWED["training"] = ALLOWED["runs"] | {"runs", "data", "metrics"}
ALLOWED["tasks"] = ALLOWED["training"] | {"training", "predict", "report", "analysis"}
ALLOWED["web"] = ALLOWED["predict"] | {"predict"}
ALLOWED["jobs"] = ALLOWED["tasks"] | {"tasks", "web", "bulk"}
ALLOWED["coco_caption"] = {"core", "text", "metrics"}
ALLOWED["__main__"] = {"core", "jobs", ""}
ALLOWED["__init__"] = ALLOWED["predict"] | {"predict", "metrics", ""}  # the public names, imported when asked for


def room(module: str) -> str:
    """``captioning.core.files`` lies in ``core``."""
    return ([*module.split("."), ""])[1]


def imports(file: Path) -> set[str]:
    """The rooms that a file imports from, wherever in the file it does."""
    rooms = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            rooms |= {room(alias.name) for alias in node.names if alias.name.split(".")[0] == "captioning"}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: a relative import"
            if node.module and node.module.split(".")[0] == "captioning":
                rooms.add(room(node.module))
    return rooms


@pytest.mark.parametrize("file", sorted(PACKAGE.rglob("*.py")), ids=lambda file: str(file.relative_to(PACKAGE)))
def test_imports_go_one_way(file: Path) -> None:
    parts = file.relative_to(PACKAGE).parts
    here = parts[0] if len(parts) > 1 else file.stem
    assert imports(file) - {here} <= ALLOWED[here]


def modules_of(file: Path) -> set[str]:
    """The modules of the package that a file imports, wherever in the file it does, by their dotted names."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return {name for name in found if name.startswith("captioning.")}


def test_no_file_imports_itself_through_others() -> None:
    """But for ``__init__.py``, which gathers the names of its folder."""
    names = {".".join(("captioning", *file.relative_to(PACKAGE).with_suffix("").parts)): file for file in FILES}
    graph = {name: modules_of(file) & names.keys() - {name} for name, file in names.items()}
    assert sum(map(len, graph.values())) > 300
    TopologicalSorter(graph).prepare()  # raises on a circle


def test_every_room_is_known() -> None:
    rooms = {path.name for path in PACKAGE.iterdir() if path.is_dir() and any(path.glob("*.py"))}
    assert rooms <= ALLOWED.keys()


def test_files_stay_small() -> None:
    long = {str(file): lines for file in PACKAGE.rglob("*.py") if (lines := len(file.read_text().splitlines())) > 400}
    assert not long, "more than one room's worth of lines"
