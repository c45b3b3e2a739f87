"""The running mean of the weights is what is validated, kept and loaded, and resuming goes on with it."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from captioning.jobs.config import compose
from captioning.jobs.train import train
from captioning.runs.checkpoint import read_checkpoint
from captioning.runs.metrics_file import read_metrics
from captioning.tasks.captioning.module import CaptioningModule

Overrides = Callable[..., list[str]]


def test_the_best_checkpoint_holds_the_mean_that_was_validated(
    tiny: Overrides, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Against the mean written out: after n steps d = min(0.9, (1 + n) / (10 + n)), m ← d m + (1 - d) w."""
    steps: list[torch.Tensor] = []
    validated: list[torch.Tensor] = []
    end, begin = CaptioningModule.on_train_batch_end, CaptioningModule.on_validation_epoch_start

    def stepped(self: CaptioningModule, *arguments: object) -> None:
        steps.append(self.decoder.word_layer.bias.detach().clone())
        end(self, *arguments)

    def validates(self: CaptioningModule) -> None:
        validated.append(self.decoder.word_layer.bias.detach().clone())
        begin(self)

    monkeypatch.setattr(CaptioningModule, "on_train_batch_end", stepped)
    monkeypatch.setattr(CaptioningModule, "on_validation_epoch_start", validates)
    train(compose(tiny("ema_decay=0.9", "trainer.max_epochs=1", "test=false")), tmp_path)

    assert len(steps) == 5
    mean = steps[0]
    for n, weights in enumerate(steps[1:], start=1):
        decay = min(0.9, (1 + n) / (10 + n))
        mean = decay * mean + (1 - decay) * weights
    assert not torch.equal(mean, steps[-1])
    torch.testing.assert_close(validated[0], mean)
    kept = read_checkpoint(tmp_path).weights["decoder.word_layer.bias"]
    torch.testing.assert_close(kept, mean)


def test_a_stopped_run_goes_on_with_the_mean_and_the_weights(
    tiny: Overrides, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    overrides = tiny("ema_decay=0.9", "trainer.max_epochs=3", "checkpoint_minutes=0")
    train(compose(overrides), tmp_path / "whole")
    step = CaptioningModule.training_step

    def stop(self: CaptioningModule, batch: object, batch_idx: int) -> torch.Tensor:
        if self.trainer.global_step == 8:
            raise RuntimeError("stopped")
        return step(self, batch, batch_idx)  # type: ignore[arg-type]

    monkeypatch.setattr(CaptioningModule, "training_step", stop)
    with pytest.raises(RuntimeError, match="stopped"):
        train(compose(overrides), tmp_path / "stopped")
    monkeypatch.undo()
    train(compose(overrides), tmp_path / "stopped")
    assert read_metrics(tmp_path / "stopped" / "metrics.csv") == read_metrics(tmp_path / "whole" / "metrics.csv")
    ours, theirs = (read_checkpoint(tmp_path / name).weights for name in ("stopped", "whole"))
    for name, weights in theirs.items():
        assert torch.equal(ours[name], weights), name
