"""Trackers are told a run's settings and measurements, offline; each is an extra."""

import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from wires import wired

from captioning.core.errors import CaptioningError
from captioning.jobs.config import compose
from captioning.jobs.train import train
from captioning.runs.metrics_file import read_metrics
from captioning.runs.monitor import Monitor
from captioning.training.trainer import make_trainer

Overrides = Callable[..., list[str]]


def line(tiny: Overrides, *more: str) -> list[str]:
    return [each for each in tiny(*more) if each != "logger=csv"]


class Fake(ModuleType):
    """A module ``trackio`` that keeps what it is told."""

    def __init__(self) -> None:
        super().__init__("trackio")
        self.begun: dict[str, Any] = {}
        self.logged: list[tuple[int | None, dict[str, float]]] = []
        self.ended = 0

    def init(self, **settings: Any) -> "Fake":
        assert not self.begun
        self.begun = settings
        return self

    def log(self, metrics: dict[str, float], step: int | None = None) -> None:
        self.logged.append((step, metrics))

    def finish(self) -> None:
        self.ended += 1


@wired("logger=trackio logger.trackio.project", "logger=trackio logger.trackio.name")
def test_trackio_is_told_a_whole_run(tiny: Overrides, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = Fake()
    monkeypatch.setitem(sys.modules, "trackio", fake)
    config = compose(
        line(tiny, "logger=trackio", "logger.trackio.project=mine", "logger.trackio.name=first", "trainer.max_epochs=1")
    )
    train(config, tmp_path / "run")
    assert (fake.begun["project"], fake.begun["name"], fake.ended) == ("mine", "first", 1)
    assert fake.begun["config"]["optimizer.lr"] == 0.01 and fake.begun["config"]["seed"] == config["seed"]
    told = {(step, name): value for step, metrics in fake.logged for name, value in metrics.items()}
    for row in read_metrics(tmp_path / "run" / "metrics.csv"):
        for name, value in row.items():
            if name not in ("step", "epoch"):
                assert told[row["step"], name] == pytest.approx(value)


def trainer_of(config: Any, folder: Path) -> Any:
    return make_trainer({**config, "trainer": {**config["trainer"], "accelerator": "cpu"}}, folder, Monitor.of(config))


@wired(*(f"logger=mlflow logger.mlflow.{name}" for name in ("experiment_name", "run_name", "tracking_uri")))
def test_mlflow_keeps_a_run_in_its_folder(tiny: Overrides, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("mlflow", reason="needs captioning[mlflow]")
    monkeypatch.setattr("mlflow.tracking.MlflowClient", str)  # a new database takes seconds
    named = ("logger.mlflow.experiment_name=mine", "logger.mlflow.run_name=first")
    made = trainer_of(compose(line(tiny, "logger=mlflow", *named)), tmp_path).loggers[-1]
    assert (made._experiment_name, made._run_name) == ("mine", "first")
    assert made._tracking_uri == f"sqlite:///{tmp_path / 'mlflow.db'}"
    other = compose(line(tiny, "logger=mlflow", "logger.mlflow.tracking_uri=http://127.0.0.1:9"))
    assert trainer_of(other, tmp_path).loggers[-1]._tracking_uri == "http://127.0.0.1:9"


@wired(*(f"logger=wandb logger.wandb.{name}" for name in ("project", "name", "offline")))
def test_wandb_is_offline(tiny: Overrides, tmp_path: Path) -> None:
    pytest.importorskip("wandb", reason="needs captioning[wandb]")
    named = ("logger.wandb.project=mine", "logger.wandb.name=first")
    made = trainer_of(compose(line(tiny, "logger=wandb", *named)), tmp_path).loggers[-1]
    assert made._wandb_init["project"] == "mine" and made._wandb_init["name"] == "first"
    assert made._offline and Path(made.save_dir) == tmp_path
    online = compose(line(tiny, "logger=wandb", "logger.wandb.offline=false"))
    assert not trainer_of(online, tmp_path).loggers[-1]._offline


@pytest.mark.parametrize("name", ["wandb", "mlflow", "trackio"])
def test_a_missing_tracker_is_a_sentence(
    tiny: Overrides, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setattr("pytorch_lightning.loggers.wandb._WANDB_AVAILABLE", False)
    monkeypatch.setattr("pytorch_lightning.loggers.mlflow._MLFLOW_AVAILABLE", False)
    with pytest.raises(CaptioningError, match=rf'logger={name} needs .*pip install "captioning\[{name}\]"'):
        trainer_of(compose(line(tiny, f"logger={name}")), tmp_path)
