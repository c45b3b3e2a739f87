"""SIGTERM (a time limit) and SIGINT (Ctrl+C) end training with a checkpoint, a sentence and the right exit status."""

import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from captioning.core.signals import Stopped, asked_to_end, deferred, ending, handlers_kept

Overrides = Callable[..., list[str]]
InChild = Callable[..., "subprocess.CompletedProcess[str]"]

STOP = '''
import os
import signal
from pathlib import Path

import pytorch_lightning as pl


class Stop(pl.Callback):
    """Send signals to the process itself in the middle of training."""

    trainings = 0

    def __init__(self, where, number, signals=1, training=1):
        self.where, self.number, self.signals, self.training = where, number, signals, training

    def on_train_start(self, trainer, module):
        Stop.trainings += 1

    def send(self, where, batch, trainer):
        if (where, batch) == (self.where, 1) and Stop.trainings == self.training and trainer.current_epoch == 1:
            for _ in range(self.signals * Path("stop").exists()):
                os.kill(os.getpid(), self.number)

    def on_train_batch_start(self, trainer, module, batch, number):
        self.send("step", number, trainer)

    def on_validation_batch_start(self, trainer, module, batch, number, loader=0):
        self.send("validation", number, trainer)
'''


@pytest.fixture
def stopping(tmp_path: Path) -> Callable[..., list[str]]:
    """A function that gives the settings of a callback with which a run sends signals to itself, where ``stop`` is."""
    (tmp_path / "stopping.py").write_text(STOP)
    (tmp_path / "stop").touch()

    def settings(where: str, number: int, signals: int = 1, training: int = 1) -> list[str]:
        values = {"_target_": "stopping.Stop", "where": where, "number": int(number), "signals": signals}
        return [f"+callbacks.stop.{name}={value}" for name, value in {**values, "training": training}.items()]

    return settings


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]


@pytest.mark.parametrize(
    ("where", "number", "status"),
    [("step", signal.SIGTERM, 143), ("validation", signal.SIGTERM, 143), ("step", signal.SIGINT, 130)],
)
def test_it_ends_with_a_checkpoint_and_goes_on_to_the_same_weights(
    where: str,
    number: signal.Signals,
    status: int,
    tiny: Overrides,
    tmp_path: Path,
    stopping: Callable[..., list[str]],
    in_child: InChild,
) -> None:
    settings = tiny("test=false", "name=run", "data.captions_per_photo=1", *stopping(where, number))
    stopped = in_child(["train", *settings], cwd=tmp_path)
    folder = tmp_path / "runs" / "run"
    assert stopped.returncode == status, stopped.stderr
    assert f"ended by {number.name}. The same command goes on from {folder / 'checkpoints' / 'last.ckpt'}" in (
        stopped.stderr + stopped.stdout
    )
    assert "Traceback" not in stopped.stderr and not (folder / "summary.json").exists()
    assert f"ended by {number.name}" in (folder / "train.log").read_text()
    if (where, number) != ("step", signal.SIGTERM):
        return  # the same checkpoint, written at the same place
    (tmp_path / "stop").unlink()
    resumed = in_child(["train", *settings], ["train", *settings, "name=whole"], cwd=tmp_path)
    assert resumed.returncode == 0, resumed.stderr
    whole = weights(tmp_path / "runs" / "whole")
    assert all(torch.equal(tensor, whole[name]) for name, tensor in weights(folder).items())
    files = [(tmp_path / "runs" / name / "metrics.csv").read_text() for name in ("run", "whole")]
    assert files[0] == files[1]


def test_a_second_signal_ends_at_once(
    tiny: Overrides, tmp_path: Path, stopping: Callable[..., list[str]], in_child: InChild
) -> None:
    settings = tiny("test=false", "name=run", *stopping("step", signal.SIGTERM, 2))
    stopped = in_child(["train", *settings], cwd=tmp_path)
    assert stopped.returncode == 143 and "Traceback" not in stopped.stderr
    last = tmp_path / "runs" / "run" / "checkpoints" / "last.ckpt"
    assert torch.load(last, weights_only=True)["epoch"] == 0  # that of the end of the first epoch
    assert f"goes on from {last}" in stopped.stderr + stopped.stdout


def test_a_sweep_says_what_is_left(
    tiny: Overrides, tmp_path: Path, stopping: Callable[..., list[str]], in_child: InChild
) -> None:
    sweep = tiny("test=false", "seed=1,2,3", "sweep=seeds", "hydra.sweep.subdir=seed_${seed}")
    stopped = in_child(["train", "-m", *sweep, *stopping("step", signal.SIGTERM, training=2)], cwd=tmp_path)
    assert stopped.returncode == 143, stopped.stderr
    assert "2 of the sweep's 3 jobs are left: seed_2, seed_3. The same command goes on with them." in stopped.stderr
    assert not list((tmp_path / "runs").rglob(".failed-*"))


def test_handlers_are_those_of_the_block_alone() -> None:
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    with pytest.raises(Stopped, match="ended by SIGTERM") as stopped, ending():
        signal.raise_signal(signal.SIGTERM)
    assert stopped.value.status == 143
    with ending(), deferred() as asked:
        signal.raise_signal(signal.SIGINT)
        assert asked.signal == asked_to_end() == signal.SIGINT
        with pytest.raises(Stopped):
            signal.raise_signal(signal.SIGTERM)
    assert asked_to_end() is None
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before


def test_a_launcher_s_own_handlers_stay() -> None:
    seen: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _: seen.append(number))
    try:
        with ending(), deferred() as asked:
            signal.raise_signal(signal.SIGTERM)
        assert seen == [signal.SIGTERM] and asked.signal is None
    finally:
        signal.signal(signal.SIGTERM, before)


def test_handlers_that_a_library_sets_are_put_back() -> None:
    """Ray's abort the process, and what it was writing."""
    with ending():
        before = signal.getsignal(signal.SIGTERM)
        with handlers_kept():
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        assert signal.getsignal(signal.SIGTERM) is before
        with pytest.raises(Stopped):
            signal.raise_signal(signal.SIGTERM)
