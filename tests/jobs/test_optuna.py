"""``captioning train -m hparams_search=optuna``: a sweep whose jobs Optuna chooses, with the table of any sweep."""

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


def test_optuna_chooses_the_jobs_of_a_sweep(
    tiny_settings: list[str], tmp_path: Path, in_child: Callable[..., Any]
) -> None:
    pytest.importorskip("hydra_plugins.hydra_optuna_sweeper", reason="needs captioning[optuna]")
    given = [each for each in tiny_settings if not each.startswith(("optimizer.lr", "decoder.output_dropout"))]
    more = [
        "hparams_search=optuna",
        "hydra.sweeper.n_trials=2",
        "trainer.max_epochs=1",
        "sweep=searched",
        "report=true",
    ]
    done = in_child(["train", "-m", *given, *more, "test=false"], cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "runs" / "searched"
    with (folder / "table.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["status"] for row in rows] == ["finished"] * 2
    assert float(rows[0]["val/CIDEr"]) >= float(rows[1]["val/CIDEr"])
    page = (folder / "report.html").read_text("utf-8")
    for name, low, high in (("optimizer.lr", 1e-4, 1e-2), ("decoder.output_dropout", 0.0, 0.6)):
        assert f"{name}: val/CIDEr of its values" in page
        values = [
            float(part.partition("=")[2]) for row in rows for part in row["job"].split(",") if part.startswith(name)
        ]
        assert all(low <= value <= high for value in values)
    assert "best job by val/CIDEr" in done.stdout and "table: runs/searched/table.csv" in done.stdout
