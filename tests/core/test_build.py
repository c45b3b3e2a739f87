"""What a configuration may name, and what not: it may have come out of a stranger's checkpoint."""

from collections import Counter
from pathlib import Path
from typing import Literal

import pytest
from omegaconf import OmegaConf

from captioning.core.build import build, call, maker, without_foreign
from captioning.core.errors import CaptioningError


class Animal:
    def __init__(self, name: str, legs: Literal[2, 4] = 4) -> None:
        self.name, self.legs = name, legs


class Bird(Animal):
    def __init__(self, wings: int = 2, beak: Literal["long", "short"] = "long", **common: object) -> None:
        super().__init__(**common)
        self.wings = wings


def hatch(name: str, egg: Literal["brown", "white"] = "white") -> Animal:
    return Animal(name)


def touch(path: str):
    Path(path).touch()


HERE = __name__


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Under its plain name, whatever pytest calls this module."""
    import sys

    monkeypatch.setitem(sys.modules, "zoo", sys.modules[HERE])


def test_builds_from_plain_and_hydras_configurations() -> None:
    config = {"_target_": "zoo.Bird", "wings": 1, "legs": 2}
    for given in (config, OmegaConf.create(config)):
        bird = build(given, Animal, name="kiwi")
        assert (type(bird), bird.name, bird.legs) == (Bird, "kiwi", 2)
        assert maker(given, Animal)(name="emu").name == "emu"


@pytest.mark.parametrize(
    "target", ["os.system", "subprocess.Popen", "builtins.eval", "collections.Counter", "zoo.hatch", "zoo.touch"]
)
def test_what_is_not_of_the_kind_is_refused_and_not_run(tmp_path: Path, target: str) -> None:
    path = tmp_path / "owned"
    config = {"_target_": target, "command": f"touch {path}", "args": ["touch", str(path)], "path": str(path)}
    with pytest.raises(CaptioningError, match=f"_target_: {target} is not a Animal"):
        build(config, Animal)
    with pytest.raises(CaptioningError, match=f"_target_: {target} is not a function that returns Counter"):
        call(config, Counter)
    assert not path.exists()


@pytest.mark.parametrize("target", ["no_such.Thing", "zoo.Unicorn", "", None, "zoo", 3])
def test_what_is_not_there_is_a_sentence(target: object) -> None:
    with pytest.raises(CaptioningError, match="_target_: "):
        build({"_target_": target}, Animal)
    with pytest.raises(CaptioningError, match="_target_: "):
        build({}, Animal)


def test_settings_that_are_not_taken_are_a_sentence() -> None:
    with pytest.raises(CaptioningError, match=r"zoo\.Animal does not take these settings.*'fins'"):
        build({"_target_": "zoo.Animal", "name": "cod", "fins": 3}, Animal)
    with pytest.raises(CaptioningError, match=r"zoo\.Bird does not take these settings.*'fins'"):  # seen by the base
        build({"_target_": "zoo.Bird", "name": "cod", "fins": 3}, Animal)
    with pytest.raises(CaptioningError, match=r"does not take these settings.*'name'"):
        build({"_target_": "zoo.Animal"}, Animal)


@pytest.mark.parametrize(
    ("target", "setting", "choices"),
    [
        ("zoo.Bird", {"beak": "lnog"}, "long, short"),
        ("zoo.Bird", {"legs": 3}, "2, 4"),  # the base class's
        ("zoo.hatch", {"egg": "White"}, "brown, white"),
    ],
)
def test_a_value_that_is_none_of_the_choices_is_a_sentence(target: str, setting: dict, choices: str) -> None:
    (name, value), make = next(iter(setting.items())), call if target == "zoo.hatch" else build
    with pytest.raises(CaptioningError, match=rf"{target}: {name}={value} is not one of its choices: {choices}\."):
        make({"_target_": target, "name": "owl", **setting}, Animal)


def test_calls_functions_of_the_type_alone() -> None:
    assert call({"_target_": "zoo.hatch", "name": "owl"}, Animal).name == "owl"
    for target in ("zoo.touch", "zoo.Animal", "os.getcwd", "pickle.loads"):
        with pytest.raises(CaptioningError, match="is not a function that returns Animal"):
            call({"_target_": target}, Animal)


def test_foreign_settings_are_left_out_and_said(caplog: pytest.LogCaptureFixture) -> None:
    config = {"_target_": "zoo.Bird", "name": "owl", "wings": 2, "inject": "every"}
    assert without_foreign(config) == {"_target_": "zoo.Bird", "name": "owl", "wings": 2}
    assert "zoo.Bird has no setting inject: left out" in caplog.text
