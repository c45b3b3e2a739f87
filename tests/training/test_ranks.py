"""Two processes score a split as one does."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from captioning.jobs.evaluate import evaluate
from captioning.training.loggers import read_metrics


def test_scores_are_gathered_over_ranks(tiny: Callable[..., list[str]], tmp_path: Path) -> None:
    overrides = tiny("name=ranks", "monitor=ROUGE-L", "trainer.devices=2", "trainer.strategy=ddp")
    command = [sys.executable, "-m", "captioning", "train", *overrides]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    run = tmp_path / "runs" / "ranks"
    rows = [row for row in read_metrics(run / "metrics.csv") if "val/ROUGE-L" in row]
    assert len(rows) == 2
    best = max(rows, key=lambda row: row["val/ROUGE-L"])
    scores = evaluate(run, "val", ["trainer.devices=1"], device="cpu").scores
    assert {name: best[f"val/{name}"] for name in scores} == pytest.approx(scores, abs=1e-6)
    assert len(json.loads((run / "captions_val.json").read_text())) == 3  # odd: one rank had one photograph more
