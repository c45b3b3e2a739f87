"""Configurations: composed from anywhere, and changed once a checkpoint carries them."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from captioning.core.errors import CaptioningError
from captioning.jobs import config as module
from captioning.jobs.config import change, compose, conf_dir, evaluated
from captioning.runs.trust import acted_on


def test_composes_groups_and_settings() -> None:
    config = compose(["data=own", "data.root=mine", "cell=gru", "decoder.hidden_size=7", "seed=3"])
    assert config["data"]["source"] == {"_target_": "captioning.data.read_own", "root": "mine"}
    assert config["cell"]["_target_"] == "captioning.cells.GRU"
    assert (config["decoder"]["hidden_size"], config["seed"]) == (7, 3)


@pytest.mark.parametrize(
    ("override", "named"),
    [("decoder=nope", "nope"), ("decoder.hiden_size=3", "hiden_size"), ("data.root=[x", "[x"), ("=", "=")],
)
def test_what_is_not_there_is_a_sentence(override: str, named: str) -> None:
    with pytest.raises(CaptioningError) as error:
        compose([override])
    assert named in str(error.value)


def test_the_configuration_of_an_installed_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = compose(["data=own"])
    package = tmp_path / "site-packages" / "captioning"
    (package / "jobs").mkdir(parents=True)
    shutil.copytree(conf_dir(), package / "conf")
    monkeypatch.setattr(module, "__file__", str(package / "jobs" / "config.py"))
    monkeypatch.chdir(tmp_path)
    assert conf_dir() == package / "conf"
    assert compose(["data=own"]) == expected


def of_a_checkpoint(*overrides: str) -> dict[str, Any]:
    return acted_on(compose(overrides), Path("a.ckpt"))


def test_to_evaluate_numbers_are_the_checkpoint_s_and_places_are_said() -> None:
    trained = of_a_checkpoint("data=flickr8k_karpathy", "data.root=/old", "data.batch_size=3", "seed=7")
    found = evaluated(trained, ["data.root=/new", "data.features_root=big"], "a.ckpt")
    expected = ["data=flickr8k_karpathy", "data.root=/new", "data.batch_size=3", "data.features_root=big"]
    assert found["data"] == compose(expected)["data"]
    assert found["seed"] == 7 and found["decoder"] == trained["decoder"]
    coco = of_a_checkpoint("data=coco", "data.splits.test=null", "data.holdout.test=7")
    assert evaluated(coco, [], "a.ckpt")["data"] == coco["data"]
    with pytest.raises(CaptioningError, match=r"by adding: data\.count=24 data\.scenes_seed=3$"):
        evaluated(of_a_checkpoint("data.count=24", "data.scenes_seed=3"), [], "a.ckpt")
    odd = of_a_checkpoint("data.workers=300", "data.batch_size=1000000", "data.name=x")
    assert evaluated(odd, [], "a.ckpt")["data"] == compose([])["data"]
    assert evaluated(of_a_checkpoint("data.count=24"), ["data.count=48"], "a.ckpt")["data"]["source"]["count"] == 48


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
def test_what_a_checkpoint_says_of_files_is_not_acted_on(settings: list[str], said: str) -> None:
    with pytest.raises(CaptioningError, match=said):
        evaluated(of_a_checkpoint(*settings), [], "a.ckpt")


def test_a_path_that_acts_on_a_terminal_is_shown_harmless() -> None:
    trained = of_a_checkpoint("data=own")
    trained["data"]["root"] = "a\x1b[2J\n$(b)${oc.env:HOME}"
    with pytest.raises(CaptioningError, match=r"by adding: 'data\.root=a\\x1b\[2J\\n\$\(b\)\$\{oc\.env:HOME\}'$"):
        evaluated(trained, [], "a.ckpt")


@pytest.mark.parametrize("kind", [None, "nope", "../../x", "base", ["coco"], "text data.root=x", "coco,own"])
def test_data_of_an_unknown_kind_are_asked_for(kind: Any) -> None:
    trained = {**of_a_checkpoint("data=own"), "choices": {"data": kind}}
    with pytest.raises(CaptioningError, match=r"of no kind that is known here .* data=… \(coco, coco2014"):
        evaluated(trained, [], "a.ckpt")
    assert (
        evaluated(trained, ["data=own", "data.root=x"], "a.ckpt")["data"]
        == compose(["data=own", "data.root=x"])["data"]
    )


def test_a_captioner_is_evaluated_on_other_data(tmp_path: Path) -> None:
    found = evaluated(of_a_checkpoint("data=own", "data.root=/old"), ["data=flickr8k", "search.size=3"], "a.ckpt")
    assert found["data"] == compose(["data=flickr8k"])["data"]
    assert found["search"]["size"] == 3


def test_changing_leaves_the_configuration_alone() -> None:
    config = compose(["data=own", "data.root=mine"])
    change(config, ["data.root=other"])
    assert config == compose(["data=own", "data.root=mine"])


@pytest.mark.parametrize(
    "override", ["data.rot=x", "data.root", "data.root=[x", "data.root=a: b: c", "nothing=1", "=x"]
)
def test_a_change_that_cannot_be_made_is_a_sentence(override: str) -> None:
    with pytest.raises(CaptioningError, match=r"^\S.*\.$"):
        change(compose(["data=own"]), [override])


@pytest.mark.parametrize("override", ["decoder=lrcn", "search=greedy", "data.source=x"])
def test_a_group_cannot_be_changed_for_another(override: str) -> None:
    with pytest.raises(CaptioningError, match=f"{override}: .* is a group, .* data and single settings"):
        change(compose(["data=own"]), [override])
