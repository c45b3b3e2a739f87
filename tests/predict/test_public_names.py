"""``from captioning import …``: what is public is there, and costs nothing until it is asked for."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

import captioning

FILE = Path(captioning.__file__)


@pytest.mark.parametrize("name", captioning.__all__)
def test_each_public_name_is_there(name: str) -> None:
    found = getattr(captioning, name)
    assert name == "__version__" or found.__name__ == name
    assert name in dir(captioning)


def test_a_type_checker_sees_the_same_names_from_the_same_places() -> None:
    """What stands under ``TYPE_CHECKING`` is what the lazy import gives."""
    imports = [
        node for node in ast.walk(ast.parse(FILE.read_text(encoding="utf-8"))) if isinstance(node, ast.ImportFrom)
    ]
    seen = {
        alias.name: f"{node.module}"
        for node in imports
        for alias in node.names
        if f"{node.module}".startswith("captioning.")
    }
    assert {*seen, "__version__"} == set(captioning.__all__)
    for name, module in seen.items():
        assert getattr(sys.modules.get(module) or __import__(module, fromlist=[name]), name) is getattr(
            captioning, name
        )


def test_a_name_that_is_not_there() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Nope'"):
        captioning.Nope  # noqa: B018


def test_the_package_alone_imports_no_torch() -> None:
    heavy = ("torch", "numpy", "PIL")
    code = f"import captioning, sys; print(captioning.__version__, [m for m in {heavy} if m in sys.modules])"
    environment = {**os.environ, "PYTHONPATH": str(FILE.parents[1])}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split(maxsplit=1)[1].strip() == "[]"
