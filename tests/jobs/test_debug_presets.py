"""The debug presets, by the real command line, with photographs and with characters."""

import csv
import logging
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from captioning.__main__ import main

Overrides = Callable[..., list[str]]
SIZES = ["decoder.hidden_size=64", "decoder.embedding_size=32", "optimizer.lr=0.01"]
OF_PRESETS = (
    "data.captions_per_photo",
    "trainer.max_epochs",
    "decoder.output_dropout",
    "trainer.log_every_n_steps",
    "patience",
    "search.max_length",
)


@pytest.fixture(params=["photographs", "characters"])
def experiment(request: pytest.FixtureRequest, tiny: Overrides, tmp_path: Path) -> list[str]:
    """A tiny experiment with what presets are there to switch off."""
    if request.param == "photographs":
        return [each for each in tiny() if each.partition("=")[0] not in OF_PRESETS]
    (tmp_path / "text.txt").write_text("to be, or not to be, that is the question. " * 40)
    places = [f"data.text={tmp_path / 'text.txt'}", f"data.cache={tmp_path / 'cache'}", f"out={tmp_path / 'runs'}"]
    fast = [
        "trainer.accelerator=cpu",
        "trainer.enable_progress_bar=false",
        "report=false",
        "logger=csv",
        "trainer.precision=32-true",
    ]
    return ["experiment=char_rnn", *places, *fast, "decoder.hidden_size=32", "data.chunk=16", "data.batch_size=2"]


def train(tmp_path: Path, *arguments: str) -> Path:
    """Train; the run's folder, the only one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        patch.setattr(sys, "argv", sys.argv[:1])
        patch.setattr(sys, "path", sys.path[:])
        patch.setattr(logging.getLogger(), "handlers", logging.getLogger().handlers[:])  # Hydra makes them its own
        assert main(["train", *arguments]) == 0
    (folder,) = (tmp_path / "runs").iterdir()
    return folder


def values(folder: Path, name: str) -> list[float]:
    with (folder / "metrics.csv").open(newline="") as file:
        return [float(row[name]) for row in csv.DictReader(file) if row.get(name)]


def test_one_batch_is_a_whole_run(experiment: list[str], tmp_path: Path) -> None:
    folder = train(tmp_path, *experiment, "debug=one_batch")
    assert folder.name == "debug_one_batch"
    assert len(values(folder, "train/loss")) == 1
    assert (folder / "checkpoints" / "best.ckpt").exists() and (folder / "summary.json").exists()
    if "data=own" in experiment:
        assert (folder / "captions_test.json").exists()


def test_overfitting_learns_by_heart(experiment: list[str], tmp_path: Path) -> None:
    folder = train(
        tmp_path, *experiment, "debug=overfit", *SIZES, "trainer.max_epochs=120", "trainer.check_val_every_n_epoch=120"
    )
    losses = values(folder, "train/loss")
    assert folder.name == "debug_overfit"
    assert len(losses) == 240
    assert losses[0] > 1.5 and max(losses[-2:]) < 0.05


def test_the_profiler_writes_into_the_run_s_folder(experiment: list[str], tmp_path: Path) -> None:
    folder = train(tmp_path, *experiment, "debug=profiler", "trainer.limit_train_batches=2")
    assert folder.name == "debug_profiler"
    assert "run_training_batch" in (folder / "fit-profile.txt").read_text()
