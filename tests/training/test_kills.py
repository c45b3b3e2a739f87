"""A run that is killed right after any of its checkpoints, moved, and started again ends in the files of the whole run.

Here the moment is chosen: the folder is copied when a checkpoint has just been written, which is what a kill at that
moment leaves. ``make kills`` kills real processes at random moments.
"""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from captioning.core.errors import CaptioningError
from captioning.jobs.config import compose
from captioning.jobs.train import train
from captioning.training.trainer import AtomicCheckpointIO

Overrides = Callable[..., list[str]]
VERSE = "the cat sat on the mat. " * 40


@pytest.fixture
def text(tmp_path: Path) -> list[str]:
    """Overrides of a language model of characters that takes a second."""
    (tmp_path / "verse.txt").write_text(VERSE)
    sizes = ["data.batch_size=4", "data.chunk=16", "data.sample_every=3", "decoder.hidden_size=8", "decoder.depth=1"]
    trainer = ["trainer.max_epochs=2", "trainer.accelerator=cpu", "trainer.precision=32-true", "search.max_length=8"]
    quiet = ["trainer.enable_progress_bar=false", "report=false", "trainer.log_every_n_steps=1", "logger=csv"]
    return ["experiment=char_rnn", f"data.text={tmp_path / 'verse.txt'}", *sizes, *trainer, *quiet]


def photographed(
    overrides: list[str], folder: Path, copies: Path, patch: pytest.MonkeyPatch, name: str = "last.ckpt"
) -> list[Path]:
    """Run to the end; copies of the run's folder at the moments at which a checkpoint has just been written."""
    save, made = AtomicCheckpointIO.save_checkpoint, []

    def spy(self: AtomicCheckpointIO, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        save(self, checkpoint, path, storage_options)
        if Path(path).name == name:
            made.append(Path(shutil.copytree(folder, copies / str(len(made)))))

    with patch.context() as context:
        context.setattr(AtomicCheckpointIO, "save_checkpoint", spy)
        train(compose(overrides), folder)
    return made


# What may differ, and what is drawn from files that are compared.
APART = ("train.log", ".lock", "curves.png", "captions_test.png", ".captioning", "report.html")


def content(folder: Path) -> dict[str, Any]:
    """All that a run has left, but for times and logs of what was said."""
    found: dict[str, Any] = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.name == "summary.json":
            found[name] = {
                key: value for key, value in json.loads(path.read_text()).items() if key not in ("seconds", "memory_mb")
            }
        elif path.suffix == ".ckpt":
            loaded = torch.load(path, weights_only=True)
            best = [
                state["best_model_score"]
                for key, state in loaded.get("callbacks", {}).items()
                if key == "captioning.BestCheckpoint"
            ]
            assert best or "callbacks" not in loaded
            found[name] = loaded["epoch"], loaded["global_step"], [float(score) for score in best]
            found[f"{name}, weights"] = {key: tensor.numpy().tobytes() for key, tensor in loaded["state_dict"].items()}
        elif path.is_file() and path.name not in APART:
            found[name] = path.read_bytes()
    return found


def same(left: dict[str, Any], right: dict[str, Any]) -> None:
    assert left.keys() == right.keys()
    assert [name for name in left if left[name] != right[name]] == []


def test_a_captioner(tiny: Overrides, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With worker processes, accumulated gradients, a mean of the weights, and captions that are drawn."""
    drawn = ("search=sample", "search.max_length=6", "data.workers=2", "optimizer.lr=0.05", "checkpoint_minutes=0")
    averaged = ("trainer.max_epochs=3", "trainer.accumulate_grad_batches=2", "ema_decay=0.9", "patience=9")
    overrides = tiny(*drawn, *averaged)
    copies = photographed(overrides, tmp_path / "whole", tmp_path / "copies", monkeypatch)
    whole = content(tmp_path / "whole")
    assert whole["summary.json"]["epochs"] == 3
    for copy in (copies[len(copies) // 2], copies[-2]):
        train(compose(overrides), copy)
        same(content(copy), whole)


def test_a_text(text: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    overrides = [*text, "checkpoint_minutes=0"]
    copies = photographed(overrides, tmp_path / "whole", tmp_path / "copies", monkeypatch)
    whole = content(tmp_path / "whole")
    assert whole["samples.txt"].count(b"----") > 5
    for copy in (copies[2], copies[-1]):
        train(compose(overrides), copy)
        same(content(copy), whole)


def test_killed_between_the_best_and_the_last_checkpoint(
    tiny: Overrides, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first best one is there before there is a last one: the run begins anew, and nothing of it is taken up."""
    overrides = tiny("trainer.max_epochs=3", "test=false")
    copies = photographed(overrides, tmp_path / "whole", tmp_path / "copies", monkeypatch, "best.ckpt")
    assert not (copies[0] / "checkpoints" / "last.ckpt").exists()
    whole = content(tmp_path / "whole")
    for copy in (copies[0], copies[-1]):
        train(compose(overrides), copy)
        same(content(copy), whole)


def test_killed_after_training_had_run_out_of_patience(
    tiny: Overrides, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    overrides = tiny("patience=1", "optimizer.lr=0", "trainer.max_epochs=7")
    copies = photographed(overrides, tmp_path / "whole", tmp_path / "copies", monkeypatch)
    whole = content(tmp_path / "whole")
    assert len(copies) == whole["summary.json"]["epochs"] == 2
    train(compose(overrides), copies[-1])
    same(content(copies[-1]), whole)


def test_a_best_checkpoint_that_is_gone_is_missed(
    tiny: Overrides, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copies = photographed(tiny("test=false"), tmp_path / "whole", tmp_path / "copies", monkeypatch)
    (copies[0] / "checkpoints" / "best.ckpt").unlink()
    with pytest.raises(CaptioningError, match=r"0/checkpoints/best\.ckpt: this file is missing"):
        train(compose(tiny("test=false")), copies[0])


def test_a_patience_that_was_changed_counts(tiny: Overrides, tmp_path: Path) -> None:
    from captioning.runs.metrics_file import read_metrics

    def epochs(*settings: str) -> int:
        train(compose(tiny("optimizer.lr=0", "trainer.max_epochs=7", "test=false", *settings)), tmp_path / "run")
        return sum("val/CIDEr" in row for row in read_metrics(tmp_path / "run" / "metrics.csv"))

    assert epochs("patience=2") == 3
    assert epochs("patience=4") == 5
    assert epochs("patience=null") == 7


def test_paths_in_a_state_remove_nothing(tiny: Overrides, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lightning removes what a checkpoint calls the worst of the best, also a folder."""
    overrides = tiny("test=false", "trainer.max_epochs=3", "optimizer.lr=0.05")
    copies = photographed(overrides, tmp_path / "whole", tmp_path / "copies", monkeypatch)
    notes = [copies[0] / "notes.txt", copies[0] / "checkpoints" / "keep.ckpt"]
    for path in notes:
        path.write_text("mine")
    last = copies[0] / "checkpoints" / "last.ckpt"
    loaded = torch.load(last, weights_only=True)
    state = loaded["callbacks"]["captioning.BestCheckpoint"]
    for evil in ("x/..", str(notes[1])):
        score = torch.tensor(-1.0)
        paths = {"best_model_path": evil, "kth_best_model_path": evil, "last_model_path": evil, "dirpath": "/"}
        state.update(paths, best_k_models={evil: score}, best_model_score=score, kth_value=score)
        torch.save(loaded, last)
        train(compose([*overrides, "resume=true"]), copies[0])
        (copies[0] / "summary.json").unlink()
        assert [path.read_text() for path in notes] == ["mine", "mine"]


def test_a_test_split_that_was_left_out_is_scored_with_the_search_of_the_run(tiny: Overrides, tmp_path: Path) -> None:
    settings = ("search.max_length=6", "trainer.max_epochs=3", "optimizer.lr=0.05")
    for name, test in (("whole", "true"), ("parts", "false")):
        train(compose(tiny(*settings, f"test={test}")), tmp_path / name)
    train(compose(tiny("search.max_length=2", *settings[1:], "test=true")), tmp_path / "parts")
    whole, parts = (json.loads((tmp_path / name / "summary.json").read_text()) for name in ("whole", "parts"))
    assert {**parts, "seconds": 0, "memory_mb": 0} == {**whole, "seconds": 0, "memory_mb": 0}
    assert any(name.startswith("test/") for name in whole)
