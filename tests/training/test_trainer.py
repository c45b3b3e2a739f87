"""The trainer, its loggers and callbacks are built from the configuration, and checked."""

from collections.abc import Callable
from pathlib import Path

import pytest
import pytorch_lightning as pl

from captioning.core.errors import CaptioningError
from captioning.jobs.config import compose
from captioning.jobs.train import train
from captioning.runs.monitor import Monitor
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
    monkeypatch.setitem(__import__("sys").modules, "counters", __import__("types").SimpleNamespace(Counter=Counter))
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
    ],
)
def test_what_is_none_is_a_sentence(settings: list[str], said: str, tiny: Overrides, tmp_path: Path) -> None:
    with pytest.raises(CaptioningError, match=said):
        config = compose(tiny(*settings))
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
