"""Configurations: composed from anywhere, and changed once a checkpoint carries them."""

import shutil
from pathlib import Path

import pytest

from captioning.core.errors import CaptioningError
from captioning.jobs import config as module
from captioning.jobs.config import compose, conf_dir
from captioning.jobs.evaluated import change


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


def test_changing_leaves_the_configuration_alone() -> None:
    config = compose(["data=own", "data.root=mine"])
    change(config, ["data.root=other"])
    assert config == compose(["data=own", "data.root=mine"])


@pytest.mark.parametrize(
    "override", ["data.rot=x", "data.root", "data.root=[x", "data.root=a: b: c", "nothing=1", "=x"]
)
def test_a_change_that_cannot_be_made_is_a_sentence(override: str) -> None:
    with pytest.raises(CaptioningError, match=r"^\S.*[.?]$"):
        change(compose(["data=own"]), [override])


@pytest.mark.parametrize("override", ["decoder=lrcn", "search=greedy", "data.source=x"])
def test_a_group_cannot_be_changed_for_another(override: str) -> None:
    with pytest.raises(CaptioningError, match=f"{override}: .* is a group, .* data and single settings"):
        change(compose(["data=own"]), [override])
