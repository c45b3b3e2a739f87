"""The trainer, its loggers and callbacks are built from the configuration, and checked."""

import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import pytorch_lightning as pl
import torch

from captioning.core.errors import CaptioningError
from captioning.core.features import Features
from captioning.core.signals import Deferral
from captioning.core.sums import Sum
from captioning.decoders import Decoder
from captioning.jobs.config import compose
from captioning.jobs.train import _fit, train
from captioning.runs.monitor import Monitor
from captioning.training.objectives import Objective
from captioning.training.trainer import make_trainer

Overrides = Callable[..., list[str]]
COUNTER = f"{__name__}.Counter"


class Counter(pl.Callback):
    """Counts steps, by twos or so."""

    counted = 0

    def __init__(self, by: int = 1) -> None:
        self.by = by

    def on_train_batch_end(self, *arguments: object) -> None:
        Counter.counted += self.by


def test_a_callback_is_added_by_a_setting(tiny: Overrides, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Counter, "counted", 0)
    monkeypatch.setitem(sys.modules, "counters", SimpleNamespace(Counter=Counter))
    own = ("+callbacks.counter._target_=counters.Counter", "+callbacks.counter.by=2")
    train(compose(tiny(*own, "trainer.max_epochs=1", "test=false")), tmp_path / "run")
    assert Counter.counted == 2 * 5


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (["+callbacks.x._target_=captioning.cells.LSTM"], "is not a Callback"),
        (["+callbacks.x._target_=pytorch_lightning.callbacks.Timer", "+callbacks.x.durations=1"], "durations"),
        (["+logger.x._target_=captioning.cells.LSTM"], "is not a Logger"),
        (["+trainer.max_epoch=3"], "max_epoch"),
        (["trainer.accelerator=tpu"], r"Check trainer\.accelerator, trainer\.devices"),
        (["trainer.accelerator=xyz"], r"invalid accelerator name.* Check trainer\.accelerator"),
        (["trainer.devices=0"], r"Check trainer\.accelerator, trainer\.devices"),
        (["trainer.devices=9999"], "trainer.devices=9999: up to .* processes are started on this CPU"),
        (["trainer.precision=64-true"], "nothing is trained in double precision here"),
        (["trainer.num_nodes=2"], "nothing tells this process which of the machines it is on. Start it by torchrun"),
    ],
)
def test_what_is_none_is_a_sentence(settings: list[str], said: str, tiny: Overrides, tmp_path: Path) -> None:
    with pytest.raises(CaptioningError, match=said):
        config = compose(tiny(*settings))
        make_trainer(config, tmp_path, Monitor.of(config))


def test_processes_that_torchrun_has_started_in_another_number_are_refused(
    tiny: Overrides, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each would train by itself, into one folder, or Lightning would end with a traceback."""
    for name, value in {"TORCHELASTIC_RUN_ID": "x", "WORLD_SIZE": "6", "LOCAL_WORLD_SIZE": "3", "RANK": "1"}.items():
        monkeypatch.setenv(name, value)
    config = compose(tiny("trainer.devices=2", "trainer.num_nodes=2", "trainer.strategy=ddp"))
    said = r"torchrun has started 6 processes\. Set trainer\.devices=3 trainer\.num_nodes=2\."
    with pytest.raises(CaptioningError, match=said):
        make_trainer(config, tmp_path, Monitor.of(config))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (["optimizer._target_=captioning.cells.LSTM"], "is not a Optimizer"),
        (["+optimizer.lrr=1"], "lrr"),
        (["scheduler._target_=captioning.core.build.build"], "is not a function that returns float"),
        (["+scheduler.warm=1"], "warm"),
        (["scheduled_sampling._target_=nowhere.f"], "can't be imported"),
        (["+scheduled_sampling.odd=1"], "odd"),
    ],
)
def test_optimizers_and_schedules_are_checked_before_anything_is_trained(
    settings: list[str], said: str, tiny: Overrides, tmp_path: Path
) -> None:
    with pytest.raises(CaptioningError, match=said):
        train(compose(tiny(*settings)), tmp_path / "run")
    assert not (tmp_path / "run" / "metrics.csv").exists()


class Wrong(Objective):
    """Gives what it is told to."""

    def __init__(self, gives: str) -> None:
        super().__init__()
        self.gives = gives

    def forward(self, decoder: Decoder, features: Features, batch: Any, step: int) -> Any:
        total = decoder.teacher_force(features, batch.words, batch.packing).hidden.sum()
        given = {
            "tensor": total,
            "nothing": {},
            "tensors": {"a": total},
            "untrained": {"a": Sum(total, 1, trained=False)},
            "no gradient": {"a": Sum(total.detach(), 1)},
            "two": dict.fromkeys(("loss", "b"), Sum(total, 1)),
        }
        return given[self.gives]


@pytest.mark.parametrize(
    ("gives", "said"),
    [
        ("tensor", "Wrong gives Tensor: a dict is wanted"),
        ("tensors", "Wrong gives dict: a dict is wanted of names to Sum"),
        ("nothing", "Wrong gives no sum to train on"),
        ("untrained", "Wrong gives no sum to train on"),
        ("no gradient", "Wrong gives no sum to train on"),
        ("two", "Wrong names one of several sums loss"),
    ],
)
@pytest.mark.parametrize("text", [False, True], ids=["captions", "text"])
def test_an_objective_that_gives_something_else_is_a_sentence(
    gives: str, said: str, text: bool, tiny: Overrides, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "wrong", SimpleNamespace(Wrong=Wrong))
    own = [*tiny("test=false"), "objective._target_=wrong.Wrong", f"+objective.gives={gives}"]
    if text:
        (tmp_path / "text.txt").write_text("hello, world. " * 40)
        kept = [each for each in own if each.startswith(("trainer", "objective", "+objective", "test"))]
        small = ["data.batch_size=2", "data.chunk=5", "decoder.hidden_size=4"]
        own = ["experiment=char_rnn", f"data.text={tmp_path / 'text.txt'}", *small, *kept]
    with pytest.raises(CaptioningError, match=said):
        train(compose(own), tmp_path / "run")


def test_own_callbacks_of_the_same_kinds_stand_beside_the_run_s(tiny: Overrides, tmp_path: Path) -> None:
    """They have states of their own in the checkpoint, also when a run goes on."""
    place = "pytorch_lightning.callbacks"
    own = [f"+callbacks.keep._target_={place}.ModelCheckpoint", "+callbacks.keep.monitor=val/CIDEr"]
    own += ["+callbacks.keep.mode=max", f"+callbacks.keep.dirpath={tmp_path / 'kept'}"]
    own += [
        f"+callbacks.stop._target_={place}.EarlyStopping",
        "+callbacks.stop.monitor=val/CIDEr",
        "+callbacks.stop.mode=max",
    ]
    own += ["patience=5"]
    for epochs in (1, 2):
        train(compose(tiny(*own, f"trainer.max_epochs={epochs}", "test=false")), tmp_path / "run")
    states = torch.load(tmp_path / "run" / "checkpoints" / "last.ckpt", weights_only=True)["callbacks"]
    assert {"captioning.BestCheckpoint", "captioning.Patience"} < states.keys()
    assert sum(key.startswith(("ModelCheckpoint", "EarlyStopping")) for key in states) == 2
    assert list((tmp_path / "kept").glob("*.ckpt"))


def test_a_run_without_end_has_a_schedule(tiny: Overrides, tmp_path: Path) -> None:
    """``trainer.max_epochs=-1`` ends by patience; the number of its steps is infinite."""
    settings = ["trainer.max_epochs=-1", "patience=1", "optimizer.lr=0", "monitor=nll", "test=false"]
    train(compose(tiny(*settings)), tmp_path / "run")
    assert (tmp_path / "run" / "summary.json").exists()


def test_too_few_open_files_for_worker_processes_are_a_sentence() -> None:
    """A worker process hands its batch over as an open file; beyond the limit the parent reads nothing."""

    def fit(*_: object, **__: object) -> None:
        raise EOFError

    with pytest.raises(CaptioningError, match=r"Raise the limit \(ulimit -n\), or take data\.workers=0"):
        _fit(SimpleNamespace(fit=fit), None, None, None, Deferral())
