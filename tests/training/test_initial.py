"""``init_from``: a run that begins with another's weights."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from captioning.core.build import build
from captioning.core.errors import CaptioningError
from captioning.core.vocabulary import SPECIAL
from captioning.jobs.config import compose
from captioning.jobs.train import train
from captioning.runs.checkpoint import read_checkpoint
from captioning.runs.folder import FolderError
from captioning.tasks.task import Task
from captioning.training.initial import begin_with

Overrides = Callable[..., list[str]]


@pytest.fixture
def first(tiny: Overrides, tmp_path: Path) -> Path:
    """A run of one epoch."""
    train(compose(tiny("trainer.max_epochs=1", "test=false")), tmp_path / "first")
    return tmp_path / "first"


def test_it_begins_with_the_best_weights_and_the_vocabulary(first: Path, tiny: Overrides, tmp_path: Path) -> None:
    """With a rate of 0 nothing moves; and words that the other run did not know stay unknown."""
    still = ("optimizer.lr=0", "data.minimum_count=3", "trainer.max_epochs=1", "test=false")
    train(compose(tiny(f"init_from={first}", *still)), tmp_path / "second")
    ours, theirs = read_checkpoint(tmp_path / "second"), read_checkpoint(first)
    assert ours.contents == theirs.contents
    assert ours.weights.keys() == theirs.weights.keys()
    assert all(torch.equal(ours.weights[name], tensor) for name, tensor in theirs.weights.items())


def test_hard_attention_begins_with_soft_attention(tiny: Overrides, tmp_path: Path) -> None:
    """The mean reward, which soft attention has not, begins at 0."""
    once = ("decoder=show_attend_tell", "trainer.max_epochs=1", "test=false")
    train(compose(tiny(*once)), tmp_path / "soft")
    train(compose(tiny(*once, "decoder.attention=hard", f"init_from={tmp_path / 'soft'}")), tmp_path / "hard")
    soft, hard = (read_checkpoint(tmp_path / name).weights for name in ("soft", "hard"))
    assert hard.keys() - soft.keys() == {"decoder.baseline"} and hard["decoder.baseline"] < 0
    wrong = tiny(*once, "decoder=neuraltalk", f"init_from={tmp_path / 'soft'}")
    with pytest.raises(CaptioningError, match="do not fit the captioner"):
        train(compose(wrong), tmp_path / "wrong")


def test_no_statistic_of_an_encoder_is_filled_in(first: Path, tiny: Overrides, tmp_path: Path) -> None:
    initial = read_checkpoint(first)
    config = compose(tiny("trainer.max_epochs=1", "test=false"))
    task = build(config["task"], Task, config=config)
    module = task.prepare(task.read_source(), tmp_path, torch.device("cpu"), initial).module
    begin_with(module, initial)
    lost = next(name for name in initial.weights if name.startswith("encoder.") and name.endswith("running_mean"))
    with pytest.raises(CaptioningError, match=r"init_from: .* do not fit the captioner .*missing"):
        begin_with(module, replace(initial, weights={k: v for k, v in initial.weights.items() if k != lost}))


def test_a_resumed_run_goes_on_with_its_own_weights(first: Path, tiny: Overrides, tmp_path: Path) -> None:
    begun = (f"init_from={first}", "trainer.max_epochs=1", "test=false")
    train(compose(tiny(*begun)), tmp_path / "cut")
    train(compose(tiny(*begun, "trainer.max_epochs=2")), tmp_path / "cut")
    train(compose(tiny(*begun, "trainer.max_epochs=2")), tmp_path / "whole")
    cut, whole = (read_checkpoint(tmp_path / name / "checkpoints" / "last.ckpt") for name in ("cut", "whole"))
    assert all(torch.equal(cut.weights[name], tensor) for name, tensor in whole.weights.items())


@pytest.mark.slow
def test_stored_features_are_those_of_the_encoder_that_the_other_run_fine_tuned(
    tiny: Overrides, tmp_path: Path
) -> None:
    """Else a frozen encoder trains with the features of its pretraining, and captions with others."""
    once = ("trainer.max_epochs=1", "test=false")
    train(compose(tiny("encoder.finetune_from=layer1", "encoder_lr=1e-3", *once)), tmp_path / "tuned")
    initial = read_checkpoint(tmp_path / "tuned")
    config = compose(tiny(f"init_from={tmp_path / 'tuned'}", *once))
    task = build(config["task"], Task, config=config)
    prepared = task.prepare(task.read_source(), tmp_path, torch.device("cpu"), initial)
    begin_with(prepared.module, initial)
    encoder = prepared.module.encoder
    batch = next(iter(prepared.data.loader("val")))
    paths = [task.read_source()["val"][place].path for place in batch.photos.tolist()]
    live = encoder(torch.stack([encoder.transform.read(path) for path in paths]))
    assert (batch.features["pooled"].float() - live["pooled"]).abs().max() < 1e-2 * live["pooled"].abs().max()


def test_other_weights_to_begin_with_make_another_run(first: Path, tiny: Overrides, tmp_path: Path) -> None:
    train(compose(tiny(f"init_from={first}", "trainer.max_epochs=1", "test=false")), tmp_path / "run")
    train(compose(tiny("seed=2", "trainer.max_epochs=1", "test=false")), tmp_path / "other")
    with pytest.raises(FolderError, match="the weights that it began with have changed"):
        train(compose(tiny(f"init_from={tmp_path / 'other'}", "trainer.max_epochs=2")), tmp_path / "run")


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("decoder.hidden_size=9", r"init_from: \S+best\.ckpt: \d+ weights of this checkpoint do not fit"),
        ("init_from=nowhere", r"nowhere: there is no such checkpoint"),
    ],
)
def test_what_does_not_fit_is_a_sentence(setting: str, said: str, first: Path, tiny: Overrides, tmp_path: Path) -> None:
    with pytest.raises(CaptioningError, match=said):
        train(compose(tiny(f"init_from={first}", setting)), tmp_path / "second")


def test_the_vocabulary_begins_with_the_special_words(first: Path) -> None:
    assert tuple(read_checkpoint(first).words.words[: len(SPECIAL)]) == SPECIAL
