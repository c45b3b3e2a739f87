"""Runs and checkpoints of version 1, which knew no tasks, still load, go on and are scored."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf

from captioning.jobs.config import compose
from captioning.jobs.evaluate import evaluate
from captioning.jobs.train import train
from captioning.predict.captioner import Captioner
from captioning.runs.checkpoint import read_checkpoint
from captioning.runs.earlier import is_of_version_1, upgraded
from captioning.runs.folder import FolderError
from captioning.runs.metrics_file import read_metrics

Overrides = Callable[..., list[str]]
NEW = ("task", "metrics", "callbacks", "init_from")  # groups and settings that version 1 did not know


def downgraded(config: dict[str, Any]) -> dict[str, Any]:
    """A configuration as version 1 wrote it."""
    old = {key: copy.deepcopy(value) for key, value in config.items() if key not in NEW}
    old["sampling"] = old.pop("scheduled_sampling")
    old["sampling"]["_target_"] = old["sampling"]["_target_"].replace("scheduled_sampling", "sampling")
    objective, decoder = old["objective"], old["decoder"]
    del objective["scheduled_sampling"]
    decoder["image_dropout"] = objective.pop("feature_dropout")
    for name in ("image", "attends"):
        decoder.pop(name, None)
    for logger in old["logger"].values():
        if isinstance(logger, dict) and logger["_target_"].startswith("captioning."):
            logger["_target_"] = "captioning.training.loggers.CSVLogger"
    return old


def make_old(run: Path) -> None:
    """Make a run's folder one of version 1: its configuration, and what its checkpoints carry."""
    config: Any = OmegaConf.to_container(OmegaConf.load(run / "config.yaml"))
    (run / "config.yaml").write_text(OmegaConf.to_yaml(OmegaConf.create(downgraded(config))))
    for path in (run / "checkpoints").glob("*.ckpt"):
        content = torch.load(path, weights_only=True)
        ours = content["captioning"]
        states = content.get("callbacks", {})
        for name, earlier in (
            ("BestCheckpoint", "ModelCheckpoint{'monitor'}"),
            ("Patience", "EarlyStopping{'monitor'}"),
        ):
            if f"captioning.{name}" in states:
                states[earlier] = states.pop(f"captioning.{name}")
        content["captioning"] = {"version": 1, "config": downgraded(ours["config"]), **ours["contents"]}
        torch.save(content, path)


@pytest.fixture
def settings(tiny: Overrides) -> list[str]:
    odd = ("objective.feature_dropout=0.25", "scheduled_sampling=linear", "objective.label_smoothing=0.1")
    return tiny("decoder=show_attend_tell", "decoder.attention_size=6", "patience=2", *odd)


def test_upgrading_undoes_downgrading(settings: list[str]) -> None:
    config = compose(settings)
    old = downgraded(config)
    assert is_of_version_1(old) and not is_of_version_1(config)
    new = upgraded(old)
    assert upgraded(new) == new
    for group in ("objective", "scheduled_sampling", "task", "logger", "search"):
        assert new[group] == config[group], group
    assert {**new["decoder"], "attends": "grid"} == config["decoder"]
    assert upgraded(downgraded(compose(["experiment=char_rnn"])))["task"] == compose(["experiment=char_rnn"])["task"]


def test_an_old_run_captions_is_scored_and_goes_on(settings: list[str], tiny_data: Path, tmp_path: Path) -> None:
    run, places = tmp_path / "run", [f"data.root={tiny_data}", f"data.features_root={tmp_path / 'features'}"]
    train(compose(settings), run)
    said, scores = Captioner.load(run, "cpu")(tiny_data / "3.png"), evaluate(run, "val", places, device="cpu").scores
    train(compose([*settings, "trainer.max_epochs=3"]), tmp_path / "other")
    make_old(run)
    assert Captioner.load(run, "cpu")(tiny_data / "3.png") == said
    assert evaluate(run, "val", places, device="cpu").scores == scores
    with pytest.raises(FolderError, match=r"objective\.feature_dropout: 0\.25, now 0\.5"):
        train(compose([*settings, "objective.feature_dropout=0.5"]), run)
    train(compose([*settings, "trainer.max_epochs=3"]), run)  # goes on as if it had been of this version
    assert read_metrics(run / "metrics.csv") == read_metrics(tmp_path / "other" / "metrics.csv")
    assert read_checkpoint(run / "checkpoints" / "last.ckpt").unresolved is None  # not known to this call
    assert not is_of_version_1(OmegaConf.to_container(OmegaConf.load(run / "config.yaml")))  # type: ignore[arg-type]
