"""A score that does not move: the validation loss decides, and patience waits."""

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from captioning.core.measure import Measure
from captioning.jobs.config import compose
from captioning.jobs.train import train
from captioning.runs.folder import RunFolder
from captioning.runs.metrics_file import read_metrics
from captioning.runs.monitor import Monitor
from captioning.training.callbacks import BestCheckpoint, Patience

Overrides = Callable[..., list[str]]
MEASURES = {"WER": Measure("WER", False), "CIDEr": Measure("CIDEr", True, 100), "nll": Measure("nll", False)}


def trainer_of(score: float, loss: float) -> Any:
    logged = {"val/CIDEr": torch.tensor(score), "val/nll": torch.tensor(loss)}
    reduced = SimpleNamespace(reduce_boolean_decision=lambda decision, all=True: decision)
    return SimpleNamespace(
        callback_metrics=logged, strategy=reduced, should_stop=False, fast_dev_run=False, current_epoch=0
    )


def stopped_at(rows: Sequence[tuple[float, float]], patience: int) -> int | None:
    """The number of validations after which ``Patience`` stops; its state is saved and restored between any two."""
    state = None
    for number, (score, loss) in enumerate(rows, start=1):
        stop = Patience("val/CIDEr", mode="max", patience=patience, loss="val/nll")
        if state is not None:
            stop.load_state_dict(state)
        trainer = trainer_of(score, loss)
        stop._run_early_stopping_check(trainer)
        state = stop.state_dict()
        if trainer.should_stop:
            return number
    return None


@pytest.mark.parametrize(
    ("rows", "patience", "end"),
    [
        ([(0.0, 3.0 + n) for n in range(20)], 2, None),  # never moved: nothing counts
        ([(0.0, 3.0), (0.0, 2.0), (0.1, 2.5), (0.1, 2.6), (0.1, 2.7)], 2, 5),
        ([(0.0, 3.0), (0.0, 3.0), (0.0, 3.0)], 2, 3),  # nor does the loss change
        ([(0.0, 3.0), (0.0, 2.0), (0.0, 2.0), (0.0, 1.0), (0.0, 1.0)], 2, 5),
        ([(0.1, 3.0), (0.3, 2.0), (0.2, 1.9), (0.3, 1.8), (0.3, 1.7)], 3, 5),  # a tie is no better score
        ([(0.3, 3.0), (0.2, 2.0), (0.1, 1.0)], 2, 3),
        ([(0.3, 3.0), (0.2, 2.0), (0.4, 4.0), (0.3, 3.5), (0.4, 4.5)], 2, 5),
    ],
)
def test_patience(rows: list[tuple[float, float]], patience: int, end: int | None) -> None:
    assert stopped_at(rows, patience) == end


@pytest.mark.parametrize(
    "rows",
    [
        [(0.0, 3.0), (0.0, 2.0), (0.0, 2.5)],
        [(0.0, 3.0), (0.1, 5.0), (0.1, 4.0), (0.0, 1.0), (0.1, 4.0)],
        [(math.nan, 3.0), (0.1, 5.0), (0.1, math.nan)],
        [(0.2, 1.0), (0.2, 1.0)],
    ],
)
def test_the_checkpoint_kept_is_the_best_row(rows: list[tuple[float, float]], tmp_path: Path) -> None:
    monitor = Monitor.among(MEASURES, "CIDEr")
    assert monitor.loss_key == "val/nll"
    kept, best = -1, BestCheckpoint(tmp_path, filename="best", monitor="val/CIDEr", mode="max", loss="val/nll")
    best._save_checkpoint = lambda *_: torch.save({}, tmp_path / "best.ckpt")  # type: ignore[method-assign]
    best._get_metric_interpolated_filepath_name = lambda *_: str(tmp_path / "best.ckpt")  # type: ignore[method-assign]
    for number, (score, loss) in enumerate(rows):
        trainer = trainer_of(score, loss)
        if best.check_monitor_top_k(trainer, trainer.callback_metrics["val/CIDEr"]):
            best._update_best_and_save(trainer.callback_metrics["val/CIDEr"], trainer, {})
            kept = number
        restored = BestCheckpoint(tmp_path, filename="best", monitor="val/CIDEr", mode="max", loss="val/nll")
        restored.load_state_dict(best.state_dict())
        assert restored.state_dict()["best_loss"] == best.best_loss
    table = [{"val/CIDEr": score, "val/nll": loss, "epoch": number} for number, (score, loss) in enumerate(rows)]
    assert monitor.best(table)["epoch"] == kept


def test_a_score_that_cannot_vary_is_said_and_the_loss_chooses(
    tiny: Overrides, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """All three validation photographs have the same captions: CIDEr is 0 whatever is said."""
    lines = []
    for number in range(16):
        split = "train" if number < 10 else "val" if number < 13 else "test"
        caption = f"a picture of {number % 3 if split == 'train' else 1}"
        lines.append(json.dumps({"image": f"{number}.png", "caption": caption, "split": split}))
    (root,) = (each.partition("=")[2] for each in tiny() if each.startswith("data.root="))
    (tmp_path / "own.jsonl").write_text("\n".join(lines).replace('"image": "', f'"image": "{root}/'))
    own = [
        f"data.root={tmp_path / 'own.jsonl'}",
        "trainer.max_epochs=5",
        "patience=1",
        "test=false",
        "optimizer.lr=0.5",
    ]
    train(compose(tiny(*own)), tmp_path / "run")
    rows = [row for row in read_metrics(tmp_path / "run" / "metrics.csv") if "val/nll" in row]
    assert {row["val/CIDEr"] for row in rows} == {0.0} and len(rows) == 5
    best = min(rows, key=lambda row: row["val/nll"])
    assert RunFolder(tmp_path / "run").read_summary()["best_epoch"] == best["epoch"] + 1
    assert "val/CIDEr is 0 whatever is said of the 3 validation photographs" in caplog.text
    assert "val/CIDEr was 0 in every validation, so it chose nothing" in caplog.text
    saved = torch.load(tmp_path / "run" / "checkpoints" / "best.ckpt", weights_only=True)
    assert saved["epoch"] == best["epoch"]
