"""The configuration to score a checkpoint with: numbers are the checkpoint's, places are the user's."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from captioning.core.errors import CaptioningError
from captioning.jobs.config import compose
from captioning.jobs.evaluated import evaluated
from captioning.runs.checkpoint import Checkpoint
from captioning.runs.trust import acted_on

Made = Callable[..., Checkpoint]


@pytest.fixture(params=[1, 2], ids=["version 1", "version 2"])
def of_a_checkpoint(request: pytest.FixtureRequest) -> Callable[..., Checkpoint]:
    """The checkpoint of a command line, which keeps its interpolations since version 2."""

    def checkpoint(*overrides: str) -> Checkpoint:
        config = acted_on(compose(overrides), Path("a.ckpt"))
        unresolved = compose(overrides, resolve=False) if request.param == 2 else None
        return Checkpoint(Path("a.ckpt"), config, {}, {}, unresolved=unresolved)

    return checkpoint


def test_to_evaluate_numbers_are_the_checkpoint_s_and_places_are_said(of_a_checkpoint: Made) -> None:
    trained = of_a_checkpoint("data=flickr8k_karpathy", "data.root=/old", "data.batch_size=3", "seed=7")
    found = evaluated(trained, ["data.root=/new", "data.features_root=big"])
    expected = ["data=flickr8k_karpathy", "data.root=/new", "data.batch_size=3", "data.features_root=big"]
    assert found["data"] == compose(expected)["data"]
    assert found["seed"] == 7 and found["decoder"] == trained.config["decoder"]
    coco = of_a_checkpoint("data=coco", "data.splits.test=null", "data.holdout.test=7")
    assert evaluated(coco, [])["data"] == coco.config["data"]
    with pytest.raises(CaptioningError, match=r"by adding: data\.count=24 data\.scenes_seed=3$"):
        evaluated(of_a_checkpoint("data.count=24", "data.scenes_seed=3"), [])
    odd = of_a_checkpoint("data.workers=300", "data.batch_size=1000000", "data.name=x")
    assert evaluated(odd, [])["data"] == compose([])["data"]
    assert evaluated(of_a_checkpoint("data.count=24"), ["data.count=48"])["data"]["source"]["count"] == 48


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (
            ["data=own", "data.root=/else where"],
            r"a\.ckpt: its data are not at .* by adding: 'data\.root=/else where'$",
        ),
        (["data=own", "data.features_root=/f"], r"by adding: data\.features_root=/f$"),
        (["data=coco", "data.splits.train=../x"], r"by adding: data\.splits\.train=\.\./x$"),
        (["data=own", "data.source._target_=mine.read"], r"by adding: data\.source\._target_=mine\.read$"),
    ],
)
def test_what_a_checkpoint_says_of_files_is_not_acted_on(of_a_checkpoint: Made, settings: list[str], said: str) -> None:
    with pytest.raises(CaptioningError, match=said):
        evaluated(of_a_checkpoint(*settings), [])


def test_a_list_of_files_is_this_program_s_own_or_asked_for(of_a_checkpoint: Made) -> None:
    line = ["data.root=/clips"]
    assert evaluated(of_a_checkpoint("data=msr_vtt", *line), line)["data"]["images"] == "/clips/clips"
    with pytest.raises(CaptioningError, match=r"by adding: .*data\.files="):
        evaluated(of_a_checkpoint("data=msr_vtt", *line, "data.files=[other.json]"), line)


def test_a_path_that_acts_on_a_terminal_is_shown_harmless(of_a_checkpoint: Made) -> None:
    trained = of_a_checkpoint("data=own")
    for config in filter(None, (trained.config, trained.unresolved)):
        config["data"]["root"] = "a\x1b[2J\n$(b)${oc.env:HOME}"
    with pytest.raises(CaptioningError, match=r"by adding: 'data\.root=a\\x1b\[2J\\n\$\(b\)\$\{oc\.env:HOME\}'$"):
        evaluated(trained, [])


@pytest.mark.parametrize("kind", [None, "nope", "../../x", "base", ["coco"], "text data.root=x", "coco,own"])
def test_data_of_an_unknown_kind_are_asked_for(of_a_checkpoint: Made, kind: Any) -> None:
    trained = of_a_checkpoint("data=own")
    trained = replace(trained, config={**trained.config, "choices": {"data": kind}})
    with pytest.raises(CaptioningError, match=r"of no kind that is known here .* data=… \(coco, coco2014"):
        evaluated(trained, [])
    assert evaluated(trained, ["data=own", "data.root=x"])["data"] == compose(["data=own", "data.root=x"])["data"]


def test_a_captioner_is_evaluated_on_other_data(of_a_checkpoint: Made) -> None:
    found = evaluated(of_a_checkpoint("data=own", "data.root=/old"), ["data=flickr8k", "search.size=3"])
    assert found["data"] == compose(["data=flickr8k"])["data"]
    assert found["search"]["size"] == 3


def test_the_tokenizer_is_the_checkpoint_s_unless_it_is_said(of_a_checkpoint: Made) -> None:
    trained = of_a_checkpoint("data=own", "data.tokenizer=words")
    assert evaluated(trained, [])["data"]["tokenizer"] == "words"
    assert evaluated(trained, ["data=flickr8k"])["data"]["tokenizer"] == "words"
    assert evaluated(trained, ["data.tokenizer=treebank"])["data"]["tokenizer"] == "treebank"
    english = of_a_checkpoint("data=flickr8k")
    for config in filter(None, (english.config, english.unresolved)):
        del config["data"]["tokenizer"]  # as before there was a choice
    assert evaluated(english, ["data=multi30k", "data.language=en"])["data"]["tokenizer"] == "treebank"


def test_a_language_is_the_checkpoint_s_and_no_place(of_a_checkpoint: Made) -> None:
    assert evaluated(of_a_checkpoint("data=multi30k", "data.language=en"), [])["data"]["source"]["language"] == "en"
    with pytest.raises(CaptioningError, match=r"by adding: data\.language=\.\./x$"):
        evaluated(of_a_checkpoint("data=multi30k", "data.language=../x"), [])


def test_metrics_are_the_user_s_and_those_of_this_package(of_a_checkpoint: Made) -> None:
    spice = "+metrics.spice._target_=captioning.metrics.Spice"
    found = evaluated(of_a_checkpoint(spice, "+metrics.mine._target_=mine.Metric"), [])
    assert [each["_target_"].rpartition(".")[2] for each in found["metrics"].values()][-1] == "Spice"
    assert "mine" not in found["metrics"]
    assert "mine" in evaluated(of_a_checkpoint("+metrics.mine._target_=mine.Metric"), [], ["mine"])["metrics"]
    chosen = evaluated(of_a_checkpoint(spice), ["~metrics.cider"])["metrics"]
    assert "cider" not in chosen and "spice" not in chosen


def test_what_is_made_of_the_root_follows_it(of_a_checkpoint: Made) -> None:
    trained = of_a_checkpoint("data=flickr8k_karpathy", "data.root=/old")
    assert evaluated(trained, ["data.root=/new"])["data"]["file"] == "/new/dataset_flickr8k.json"
