"""The losses of every decoder and cell equal those of the commit that each curve names."""

import csv
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, Path(__file__).parent / f"{name}.py")
    assert spec and spec.loader
    sys.modules[name] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


record = load("record")


def test_every_kind_has_a_curve() -> None:
    assert {path.stem for path in record.CURVES.glob("*.csv")} == set(record.KINDS)


@pytest.mark.parametrize("kind", record.KINDS)
def test_the_curve_is_what_it_was(kind: str, tmp_path: Path) -> None:
    with (record.CURVES / f"{kind}.csv").open(newline="") as file:
        expected = list(csv.DictReader(file))
    assert sum(bool(row["train/loss"]) for row in expected) == 40
    assert sum(bool(row["val/nll"] or row["val/loss"]) for row in expected) == 2
    found = record.curve(kind, tmp_path)
    assert len(found) == len(expected)
    for ours, row in zip(found, expected, strict=True):
        theirs = {name: float(row[name]) for name in record.COLUMNS if row[name]}
        assert {name: float(value) for name, value in ours.items()} == pytest.approx(theirs, rel=1e-4), row["step"]
