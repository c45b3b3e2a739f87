"""The recipes of COCO, one after the other, for a few steps on eighty photographs."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf

from captioning.core.files import read_json
from captioning.jobs.config import compose, conf_dir
from captioning.jobs.train import train
from captioning.runs.checkpoint import read_checkpoint
from captioning.runs.metrics_file import read_metrics

SMALL = (
    *("data=coco", "data.splits={train: train2017, val: null, test: null}", "data.holdout={val: 10, test: 3}"),
    *("data.minimum_count=2", "data.batch_size=4", "data.workers=0"),
    *("encoder.weights=null", "encoder.image_size=32", "encoder.last_stage=layer1"),
    *("decoder.embedding_size=8", "decoder.hidden_size=8", "decoder.attention_size=8", "search=greedy"),
    *("trainer.limit_train_batches=3", "trainer.max_epochs=1", "trainer.log_every_n_steps=1", "logger=csv"),
    *("trainer.accelerator=cpu", "trainer.enable_progress_bar=false", "report=false"),
)


@pytest.fixture(scope="module")
def run(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """A function from a recipe's name to the folder of a small run of it."""
    folder = tmp_path_factory.mktemp("recipes")
    places = (f"data.root={shared / 'coco_mini'}", f"data.features_root={folder / 'features'}", f"out={folder}")

    def made(recipe: str, *more: str) -> Path:
        train(compose([f"experiment={recipe}", *SMALL, *places, *more]), folder / recipe)
        return folder / recipe

    return made


def test_cross_entropy_then_self_critical_training_then_a_trained_encoder(run: Callable[..., Path]) -> None:
    first = run("coco_show_attend_tell")
    rewarded, tuned = run("coco_self_critical"), run("coco_finetuned", "encoder.finetune_from=layer1")
    for folder in (first, rewarded, tuned):
        losses = [row["train/loss"] for row in read_metrics(folder / "metrics.csv") if "train/loss" in row]
        assert len(losses) == 3 and all(torch.tensor(losses).isfinite())
        assert len(read_json(folder / "captions_test.json", "captions")) == 3
        assert read_checkpoint(folder).words.words == read_checkpoint(first).words.words
    scores = [json.loads((folder / "scores_test.json").read_text()) for folder in (first, rewarded, tuned)]
    assert [each.get("signature") for each in scores] == [
        None,
        "STANDARD_wInit+Cider-D[n4,s6.0]+average[nspi5]+1.0.0",
        None,
    ]
    weights = [read_checkpoint(folder).weights for folder in (first, rewarded, tuned)]
    encoder = [name for name in weights[0] if name.startswith("encoder.") and name.endswith("weight")]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in encoder)
    assert not all(torch.equal(weights[0][name], weights[2][name]) for name in encoder)


def test_recipes_begin_where_the_first_one_ends() -> None:
    """The run that each recipe needs is the one that the recipe of cross-entropy leaves under its own name."""
    for recipe, before in (
        ("coco_self_critical", "coco_show_attend_tell"),
        ("coco_finetuned", "coco_show_attend_tell"),
        ("flickr8k_self_critical", "flickr8k_three_encoders"),
    ):
        config, first = compose([f"experiment={recipe}", "out=there"]), compose([f"experiment={before}"])
        name = OmegaConf.load(conf_dir() / "experiment" / f"{before}.yaml")["name"]
        assert config["init_from"] == f"there/{name}" == f"there/{before}"
        assert config["decoder"] == first["decoder"] and config["cell"] == first["cell"]
        assert config["data"]["minimum_count"] == first["data"]["minimum_count"]
