"""A run that is killed and resumed measures what an uninterrupted one measures."""

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from pytorch_lightning import LightningModule

from captioning.__main__ import main
from captioning.core.errors import CaptioningError
from captioning.jobs.config import compose
from captioning.jobs.evaluate import evaluate
from captioning.jobs.train import train
from captioning.runs.metrics_file import read_metrics
from captioning.tasks.captioning.module import CaptioningModule
from captioning.tasks.labelling.module import LabellingModule

Overrides = Callable[..., list[str]]
STEPS = ("trainer.max_epochs=4", "checkpoint_minutes=0", "test=false")  # 5 batches an epoch, a checkpoint after each


def run(overrides: list[str], folder: Path) -> list[dict[str, float]]:
    train(compose(overrides), folder)
    return read_metrics(folder / "metrics.csv")


def same(left: list[dict[str, float]], right: list[dict[str, float]]) -> None:
    assert [row.keys() for row in left] == [row.keys() for row in right]
    for ours, theirs in zip(left, right, strict=True):
        assert ours == pytest.approx(theirs, abs=1e-7)


def test_killed_mid_epoch_resumes_to_the_same_losses(
    tiny: Overrides, tmp_path: Path, start_fork: Callable[..., Any]
) -> None:
    overrides = tiny(*STEPS)
    whole = run(overrides, tmp_path / "whole")
    steps = [row["step"] for row in whole if "train/loss" in row]
    assert steps == list(range(20))

    folder = tmp_path / "runs" / "killed"
    process = start_fork(lambda: main(["train", *overrides, "name=killed"]), cwd=tmp_path)
    deadline = time.monotonic() + 120
    while not _step(folder) >= 7:
        assert process.running() and time.monotonic() < deadline, "the run ended before it could be killed"
        time.sleep(0.05)
    process.kill()
    stopped = _step(folder)
    assert 7 <= stopped < 20
    same(run([*overrides], folder), whole)


@pytest.fixture(scope="module")
def never_stopped(tiny_settings: list[str], tmp_path_factory: pytest.TempPathFactory) -> tuple[list[str], Path]:
    """Settings, and the folder of a run of them."""
    folder = tmp_path_factory.mktemp("whole")
    places = [f"data.features_root={folder / 'features'}", "trainer.max_epochs=3", "checkpoint_minutes=0"]
    places += ["cell=gru", "test=false"]
    run([*tiny_settings, *places], folder / "run")
    return [*tiny_settings, *places], folder / "run"


@pytest.mark.parametrize(("at", "workers"), [(1, 0), (7, 1), (10, 2), (12, 4)])
def test_stopped_anywhere_resumes_to_the_same_weights(
    at: int,
    workers: int,
    never_stopped: tuple[list[str], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In the middle of an epoch and at its end (5 batches), as one that had no workers and was never stopped."""
    overrides = [*never_stopped[0], f"data.workers={workers}"]
    stop(overrides, tmp_path / "cut", at, monkeypatch)
    goes_on_to_the_same(overrides, tmp_path / "cut", never_stopped[1])


def test_a_fine_tuned_run_goes_on_with_the_same_pictures(
    tiny: Overrides, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tuned = ("encoder.last_stage=layer1", "encoder.finetune_from=layer1", "encoder_lr=0.01", "augmentation=standard")
    overrides = tiny(*tuned, "checkpoint_minutes=0", "test=false")
    run([*overrides, "data.workers=1"], tmp_path / "whole")
    stop(overrides, tmp_path / "cut", 7, monkeypatch)
    goes_on_to_the_same(overrides, tmp_path / "cut", tmp_path / "whole")
    plain = run([*overrides, "augmentation=none"], tmp_path / "plain")
    assert plain[0]["train/loss"] != read_metrics(tmp_path / "whole" / "metrics.csv")[0]["train/loss"]


def test_a_run_on_clips_goes_on_to_the_same_weights(
    tiny_run_on_clips: Overrides, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    overrides = tiny_run_on_clips("checkpoint_minutes=0", "trainer.max_epochs=2")
    whole = run(overrides, tmp_path / "whole")
    steps = [row["step"] for row in whole if "train/loss" in row]
    assert len(steps) == 2 * 5
    stop(overrides, tmp_path / "cut", 7, monkeypatch)  # in the middle of the second epoch
    goes_on_to_the_same(overrides, tmp_path / "cut", tmp_path / "whole")


def stop(overrides: list[str], folder: Path, at: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run up to a step."""
    with monkeypatch.context() as patch, pytest.raises(RuntimeError, match="power cut"):
        for module in (CaptioningModule, LabellingModule):
            patch.setattr(module, "training_step", failing(module.training_step, at))
        run(overrides, folder)


def failing(step: Callable[..., Any], at: int) -> Callable[..., Any]:
    """A training step that fails at the one of this number."""

    def training_step(self: LightningModule, *given: Any) -> Any:
        if self.trainer.global_step == at:
            raise RuntimeError("power cut")
        return step(self, *given)

    return training_step


def goes_on_to_the_same(overrides: list[str], stopped: Path, whole: Path) -> None:
    """Resume, and compare all that was measured, and the weights."""
    same(run(overrides, stopped), read_metrics(whole / "metrics.csv"))
    weights = [torch.load(folder / "checkpoints/last.ckpt", weights_only=True) for folder in (whole, stopped)]
    for name, tensor in weights[0]["state_dict"].items():
        assert torch.equal(tensor, weights[1]["state_dict"][name]), name


def test_self_critical_training_draws_the_same_captions_again(
    tiny: Overrides, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Stopped in the middle of the second epoch; with dropout, cross-entropy and another run's weights."""
    run(tiny("trainer.max_epochs=1"), tmp_path / "first")
    own = ("objective=self_critical", "objective.cross_entropy=0.2", f"init_from={tmp_path / 'first'}")
    overrides = tiny(*own, "checkpoint_minutes=0", "monitor=nll")
    whole = run(overrides, tmp_path / "whole")
    assert len({row["train/reward"] for row in whole if "train/reward" in row}) > 5
    stop(overrides, tmp_path / "cut", 7, monkeypatch)
    caplog.clear()  # an earlier test may have set the level
    with caplog.at_level(logging.INFO):
        same(run(overrides, tmp_path / "cut"), whole)
    signature = "STANDARD_wInit+Cider-D[n4,s6.0]+average[nspi5]+1.0.0"
    assert f'"signature": "{signature}"' in (tmp_path / "cut" / "scores_test.json").read_text()
    assert [message.rpartition("trained by ")[2] for message in caplog.messages if "trained by" in message] == [
        signature,  # when training begins, and with the scores
        signature,
    ]
    places = [each for each in overrides if each.startswith(("data.root", "data.features_root"))]
    assert evaluate(tmp_path / "cut", "val", places, device="cpu").details["signature"] == signature
    with pytest.raises(CaptioningError, match=r"objective\.end_is_a_word: True, now False"):
        run([*overrides, "objective.end_is_a_word=false"], tmp_path / "cut")


def test_a_finished_run_is_not_run_again_but_goes_on_with_more_epochs(tiny: Overrides, tmp_path: Path) -> None:
    first = run(tiny(), tmp_path / "run")
    assert run(tiny(), tmp_path / "run") == first
    more = run(tiny("trainer.max_epochs=3"), tmp_path / "run")
    same(more, run(tiny("trainer.max_epochs=3"), tmp_path / "afresh"))


def test_another_configuration_in_the_same_folder_is_refused(tiny: Overrides, tmp_path: Path) -> None:
    run(tiny(), tmp_path / "run")
    with pytest.raises(CaptioningError, match=r"decoder\.hidden_size: 8, now 9"):
        run(tiny("decoder.hidden_size=9"), tmp_path / "run")
    assert len(run(tiny("decoder.hidden_size=9", "resume=false"), tmp_path / "run")) > 0


def test_the_same_seed_gives_the_same_run_and_another_does_not(tiny: Overrides, tmp_path: Path) -> None:
    first, again, other = (
        run(tiny(f"seed={seed}", "test=false"), tmp_path / name) for seed, name in ((1, "a"), (1, "b"), (2, "c"))
    )
    assert first == again
    assert first[0]["train/loss"] != other[0]["train/loss"]


def _step(folder: Path) -> int:
    try:
        content = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)
    except FileNotFoundError:
        return -1
    return int(content["global_step"])
