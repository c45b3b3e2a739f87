"""A few broken inputs of each kind: a result or a sentence, never anything else; more by ``python tests/fuzz.py``."""

import importlib.util
import resource
import sys
from pathlib import Path
from types import ModuleType

import pytest

FOLDER = Path(__file__).parent
COUNTS = {"download": 10, "archives": 40, "captions": 40, "neighbours": 30, "served": 20}  # those that take longer


def load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("fuzz", FOLDER / "fuzz.py")
    assert spec and spec.loader
    sys.modules["fuzz"] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


fuzz = load()


@pytest.fixture(scope="module")
def kinds(tmp_path_factory: pytest.TempPathFactory) -> object:
    return fuzz.Kinds(tmp_path_factory.mktemp("fuzz"))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", fuzz.KINDS)
def test_a_result_or_a_sentence(kind: str, kinds: object) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    counted = fuzz.few(kinds, kind, COUNTS.get(kind, 60))
    assert counted.total() >= COUNTS.get(kind, 60) * 0.9
    assert counted["read"] and (kind in ("captions", "counts") or counted["refused"])
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < fuzz.MEMORY
