"""Gradients in training: what is logged of them, and that training ends at one that is not finite."""

import math
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from captioning.core.errors import CaptioningError
from captioning.jobs.config import compose
from captioning.jobs.train import train
from captioning.runs.metrics_file import read_metrics
from captioning.tasks.captioning.module import CaptioningModule
from captioning.training.gradient_norms import PATIENCE, Gradients, by_layer, is_clipped

Overrides = Callable[..., list[str]]
SHORT = ("trainer.max_epochs=2", "test=false")


def run(overrides: list[str], folder: Path) -> list[dict[str, float]]:
    train(compose(overrides), folder)
    return [row for row in read_metrics(folder / "metrics.csv") if "train/loss" in row]


def spoil(patch: pytest.MonkeyPatch, at: int, factor: float) -> None:
    """Multiply the loss of one step."""
    step = CaptioningModule.training_step

    def spoilt(self: CaptioningModule, batch: Any, batch_idx: int) -> Tensor:
        loss = step(self, batch, batch_idx)
        return loss * factor if self.trainer.global_step == at else loss

    patch.setattr(CaptioningModule, "training_step", spoilt)


def test_a_layer_s_norm_is_that_of_its_weight_and_bias_together() -> None:
    norms = {"decoder.a.Whh.weight": torch.tensor(3.0), "decoder.a.Whh.bias": torch.tensor(4.0)}
    assert by_layer(norms | {"encoder.stem.weight": torch.tensor(2.0)}) == {"a.Whh": 5.0, "encoder.stem": 2.0}


def test_the_norms_of_the_layers_and_the_share_of_clipped_steps(tiny: Overrides, tmp_path: Path) -> None:
    """A limit between the norms that the steps have clips some of them, and the log says how many."""
    overrides = tiny("logger.gradients=true", "cell=gru", "decoder.depth=2", "optimizer.lr=0", *SHORT)
    free = run([*overrides, "trainer.gradient_clip_val=null"], tmp_path / "free")
    for row in free:
        layers = {name: norm for name, norm in row.items() if name.startswith("gradients/") and "clipped" not in name}
        assert {"gradients/recurrent.layers.1.Whh", "gradients/embedding", "gradients/word_layer"} <= layers.keys()
        assert math.hypot(*layers.values()) == pytest.approx(row["train/gradient_norm"], rel=1e-4)
        assert row["gradients/clipped"] == 0.0
    norms = [row["train/gradient_norm"] for row in free]
    limit = sorted(norms)[3]
    by_norm = run([*overrides, f"trainer.gradient_clip_val={limit}"], tmp_path / "norm")
    over = [norm > limit for norm in norms]
    assert [row["gradients/clipped"] for row in by_norm] == pytest.approx(
        [sum(over[: n + 1]) / (n + 1) for n in range(len(over))]
    )
    value = ("trainer.gradient_clip_algorithm=value", f"trainer.gradient_clip_val={min(norms)}")
    assert {row["gradients/clipped"] for row in run([*overrides, *value], tmp_path / "value")} == {0.0}


def test_by_value_a_step_is_clipped_where_one_number_is_beyond_the_limit() -> None:
    module = torch.nn.Linear(2, 1)
    module.weight.grad, module.bias.grad = torch.tensor([[0.5, -0.9]]), torch.tensor([0.2])

    class Trainer:
        gradient_clip_algorithm = "value"

    trainer: Any = Trainer()
    clipped = []
    for trainer.gradient_clip_val in (0.89, 0.91, None):
        clipped.append(is_clipped(trainer, module, torch.tensor(99.0)))
    assert clipped == [True, False, False]


def test_training_ends_before_a_step_that_is_not_finite_and_goes_on_from_there(
    tiny: Overrides, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the first step, at an epoch's first and within one, with two batches a step; then as if nothing had been."""
    overrides = tiny("logger.gradients=true", "trainer.accumulate_grad_batches=2", "data.batch_size=1", *SHORT)
    whole = run(overrides, tmp_path / "whole")
    last = tmp_path / "cut" / "checkpoints" / "last.ckpt"
    for at, factor in ((0, math.nan), (5, math.inf), (7, math.nan)):
        with monkeypatch.context() as patch, pytest.raises(CaptioningError) as error:
            spoil(patch, at=at, factor=factor)
            run(overrides, tmp_path / "cut")
        sentence = str(error.value)
        assert f"Step {at}: the loss is {factor}" in sentence and (str(last) in sentence or at == 0)
        assert re.search(r"The batch: photographs \d+\.png; photographs \d+\.png\. ", sentence)
        assert not last.exists() if at == 0 else torch.load(last, weights_only=True)["global_step"] == at
    assert run(overrides, tmp_path / "cut") == whole


def test_the_buffers_of_a_bad_step_are_not_saved(
    tiny: Overrides, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Hard attention keeps a running mean of its reward, which a reward of nan would make nan for ever."""
    step = CaptioningModule.training_step

    def spoilt(self: CaptioningModule, batch: Any, batch_idx: int) -> Tensor:
        loss = step(self, batch, batch_idx)
        if self.trainer.global_step == 3:
            self.decoder.baseline.fill_(math.nan)
            return loss * math.nan
        return loss

    monkeypatch.setattr(CaptioningModule, "training_step", spoilt)
    hard = tiny("decoder=show_attend_tell", "decoder.attention=hard", "decoder.attention_size=4", *SHORT)
    with pytest.raises(CaptioningError, match="Step 3"):
        run(hard, tmp_path / "run")
    saved = torch.load(tmp_path / "run/checkpoints/last.ckpt", weights_only=True)["state_dict"]
    assert saved["decoder.baseline"].isfinite() and saved["decoder.baseline"] != 0


def test_a_rate_that_explodes_is_a_sentence_and_exit_status_one(
    tiny: Overrides, in_child: Callable[..., "subprocess.CompletedProcess[str]"], tmp_path: Path
) -> None:
    rates = ("optimizer=sgd", "optimizer.lr=1e38", "trainer.gradient_clip_val=null", "logger.gradients=true")
    done = in_child(["train", *tiny(*rates, *SHORT, "name=burst")], cwd=tmp_path)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert re.search(r"error: Step 1: the loss is (nan|inf).*photographs .*lower optimizer\.lr", done.stderr)


def test_of_accumulated_batches_the_bad_one_is_named(
    tiny: Overrides, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[list[int]] = []
    step = CaptioningModule.training_step

    def spoilt(self: CaptioningModule, batch: Any, batch_idx: int) -> Tensor:
        seen.append(batch.photos.tolist())
        return step(self, batch, batch_idx) * (math.nan if batch_idx == 1 else 1.0)

    monkeypatch.setattr(CaptioningModule, "training_step", spoilt)
    with pytest.raises(CaptioningError) as error:
        run(tiny("trainer.accumulate_grad_batches=3", *SHORT), tmp_path / "run")
    assert len(seen) == 3
    assert f"photographs {seen[1][0]}.png, {seen[1][1]}.png. " in str(error.value)


class Module(torch.nn.Linear):
    """Just enough of a Lightning module."""

    def log(self, *arguments: Any) -> None: ...


class Data:
    def describe_batch(self, batch: Any) -> str:
        return str(batch)


class Saved:
    """Just enough of what writes checkpoints."""

    path, times = "last.ckpt", 0

    def write(self, trainer: Any) -> None:
        self.times += 1


class Progress:
    def __init__(self) -> None:
        self.completed = 3

    def reset_on_restart(self) -> None: ...


class Scaled:
    """Just enough of a trainer with a gradient scaler, which skips steps by itself."""

    global_step, world_size, gradient_clip_val = 5, 1, None
    datamodule = Data()

    class fit_loop:  # noqa: N801
        class epoch_loop:  # noqa: N801
            class batch_progress:  # noqa: N801
                total, current = Progress(), Progress()

    class precision_plugin:  # noqa: N801
        scaler = object()

    class strategy:  # noqa: N801
        reduce_boolean_decision = staticmethod(bool)


def test_steps_that_a_scaler_skips_end_training_only_when_there_is_no_end_to_them() -> None:
    saved = Saved()
    trainer: Any = Scaled()
    module: Any = Module(2, 1)
    watch = Gradients(saved)  # type: ignore[arg-type]

    def step(gradient: float, loss: float = 1.0) -> None:
        module.weight.grad = torch.full_like(module.weight, gradient)
        watch.on_train_batch_start(trainer, module, "the batch", 0)
        watch.on_before_backward(trainer, module, torch.tensor(loss))
        watch.on_before_optimizer_step(trainer, module, None)  # type: ignore[arg-type]

    for _ in range(3):
        for _ in range(PATIENCE):
            step(math.inf)
        step(1.0)
    for _ in range(PATIENCE):
        step(math.inf)
    assert saved.times == 0
    with pytest.raises(CaptioningError, match=r"gradient of weight is inf.*the batch\. last\.ckpt"):
        step(math.inf)
    with pytest.raises(CaptioningError, match="the loss is nan"):
        step(math.inf, math.nan)
    assert saved.times == 2
