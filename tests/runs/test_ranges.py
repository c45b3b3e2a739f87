"""Numbers out of range are sentences that name the setting, before anything is written."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from captioning.core.errors import CaptioningError
from captioning.jobs.config import compose
from captioning.jobs.train import train
from captioning.runs.ranges import LIMITS, RANGES, Range, check_ranges
from captioning.search.beam import PENALTY
from captioning.search.search import TEMPERATURES

CONF = Path(__file__).parents[2] / "conf"
OUT = [
    *("data.batch_size=0", "data.batch_size=-1", "data.captions_per_photo=0", "data.workers=-1", "data.max_words=0"),
    *("data.batch_size=1.5", "data.minimum_count=-1", "decoder.hidden_size=0", "decoder.embedding_size=-3"),
    *("decoder.depth=0", "decoder.output_dropout=1.5", "decoder.output_dropout=-0.1", "ema_decay=1", "ema_decay=-1"),
    *("optimizer.lr=-1", "optimizer.lr=nan", "optimizer.lr=inf", "encoder_lr=-1e-5", "checkpoint_minutes=-1"),
    *(
        "seed=-1",
        "seed=4294967296",
        "patience=-1",
        "trainer.max_epochs=0",
        "trainer.max_epochs=-2",
    ),
    *("trainer.accumulate_grad_batches=0", "trainer.gradient_clip_val=-1", "encoder.image_size=0"),
    *("encoder.image_size=[32,-1]", "search.max_length=0", "trainer.limit_train_batches=-1"),
    *(
        "objective.label_smoothing=2",
        "trainer.log_every_n_steps=0",
        "data.workers=100000",
        "encoder.image_size=1000000",
    ),
    *("decoder.hidden_size=100000000", "data.batch_size=null", "decoder.embedding_size=null", "data.workers=null"),
    *("data.batch_size=4.0", "data.max_words=1e3", "seed=1.0", "ema_decay=often", "+trainer.val_check_interval=0"),
    *("optimizer.lr=" + "9" * 400, "patience=" + "9" * 400),
]


@pytest.mark.parametrize("setting", OUT)
def test_a_number_out_of_range_is_a_sentence(setting: str, tiny: Callable[..., list[str]], tmp_path: Path) -> None:
    name = setting.partition("=")[0].lstrip("+")
    with pytest.raises(CaptioningError, match=rf"^{name}=[^:]*: (take|a whole number)"):
        train(compose(tiny(setting)), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_what_conf_has_is_in_range() -> None:
    files = sorted(CONF.rglob("*.yaml"))
    assert len(files) > 150
    for path in files:
        settings: Any = OmegaConf.to_container(OmegaConf.load(path))
        group = path.relative_to(CONF).parts[0]
        whole = path.read_text("utf-8").startswith("# @package _global_") or path.parent == CONF
        check_ranges(settings if whole else {group: settings})
    for more in (["optimizer=sgd"], ["encoder=none"], ["patience=null", "trainer.max_epochs=-1", "ema_decay=0"]):
        check_ranges(compose(more))


@given(st.floats() | st.integers())
def test_words_and_values_of_a_range_agree(value: float) -> None:
    for allowed in RANGES.values():
        if allowed.has(value) and value != allowed.also:
            assert allowed.least <= value < float("inf") and (not allowed.whole or value == int(value))
    assert str(Range(1, whole=True, also=-1)) == "a whole number of 1 or more, or -1"
    assert str(Range(0, 1, below=True)) == "a number of 0 or more and below 1"


PARTS = [
    *("decoder=attention_on_attention decoder.refining_layers=100000", "cell=lstm_forget_bias cell.forget_bias=inf"),
    *("decoder=show_attend_tell decoder.entropy=nan", "decoder=show_attend_tell decoder.doubly_stochastic=-1"),
    *("decoder=visual_memory decoder.reconstruction=-1", "search=beam search.length_penalty=1e30"),
    *("objective=self_critical objective.cider=nan", "objective=self_critical objective.temperature=nan"),
]


@pytest.mark.parametrize("settings", PARTS)
def test_a_part_s_number_out_of_range_is_a_sentence(settings: str) -> None:
    name, _, value = settings.split()[1].partition("=")
    with pytest.raises(CaptioningError, match=rf"^{name}={value.replace('1e30', '1e.30')}: take a"):
        check_ranges(compose(["data=own", "data.root=photos", *settings.split()]))


def test_the_greatest_length_penalty_is_the_search_s() -> None:
    assert RANGES["search.length_penalty"].most == PENALTY
    assert 1.0 / float(LIMITS["max_length"] ** PENALTY) > 0


def test_the_temperatures_are_the_search_s() -> None:
    assert (RANGES["search.temperature"].least, RANGES["search.temperature"].most) == TEMPERATURES


BEYOND = [
    *(f"search=beam search.{name}={LIMITS[name] + 1}" for name in ("size", "max_length", "n_best", "block_ngrams")),
    *("search=sample search.samples=101", "search=sample search.temperature=1e-5"),
    "search=diverse_beam search.groups=101",
]


@pytest.mark.parametrize("search", BEYOND)
def test_what_a_checkpoint_may_not_have_is_refused_before_training(search: str, tiny: Callable[..., list[str]]) -> None:
    """Otherwise a run would train, and fail at its very end, when it loads its best checkpoint."""
    settings = [each for each in tiny(*search.split()) if not each.startswith(("search=greedy", "search.max_length=6"))]
    name = search.split()[1].partition("=")[0]
    with pytest.raises(CaptioningError, match=rf"^{name}=.*: take a"):
        check_ranges(compose(settings))
