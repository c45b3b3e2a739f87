"""Paths on the command line: any name of a folder is a folder."""

import re
import shlex
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given
from hypothesis import strategies as st

from captioning.core.errors import UsageError
from captioning.jobs.command_line import checked
from captioning.jobs.config import compose, conf_dir
from captioning.jobs.paths import PATHS, quoted_paths

NAMES = [
    "2019",
    "./2019",
    "true",
    "1e3",
    "null",
    "Nan",
    "1_000",
    "fotos_größe",
    "fotos(1)",
    "a=b",
    "my photos",
    "a:b",
    "100%",
    "写真",
]
NAMES += ["C:\\new\\photos\\", 'say "cheese"', "it's", 'a\\"b', "[1]x", "é/ü", "@home", "a#b", "!x", "*", "x}", " x "]


@pytest.mark.parametrize("name", [name for name in NAMES if name[0] != "["])
def test_a_folder_of_any_name(name: str) -> None:
    for key in ("data.root", "data.features_root", "out"):
        (line,) = quoted_paths([f"{key}={name}"])
        config = compose(["data=own", f"{key}={name}"])
        found = config["out"] if key == "out" else config["data"][key.removeprefix("data.")]
        assert found == name and isinstance(found, str), line
    assert f"data.root={name}" not in checked(["data=own", f"data.root={name}"], str(conf_dir())) or name == "./2019"


@given(st.text(st.characters(exclude_characters=",$\n\r\t\0", exclude_categories=["Cs", "Cc"]), min_size=1))
def test_hydra_reads_what_was_written(name: str) -> None:
    if name[0] in "'\"[{~":
        return
    (line,) = quoted_paths([f"data.root={name}"])
    assert OverridesParser.create().parse_overrides([line])[0].value() == name


def test_the_users_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert compose(["data=own", "data.root=~/photos"])["data"]["root"] == f"{tmp_path}/photos"
    assert compose(["data=own", "data.root=photos~1"])["data"]["root"] == "photos~1"


def test_what_is_no_plain_path_stays() -> None:
    for line in (
        "data.root=photos",
        "word_vectors=null",
        "init_from=null",
        "seed=2019",
        "data.root=${out}",
        "data.root='2019'",
    ):
        assert quoted_paths([line]) == [line]
    assert quoted_paths(["data.root=2019,b,c d"], sweep=True) == ['data.root="2019",b,"c d"']
    with pytest.raises(UsageError, match="several values are a sweep"):
        compose(["data=own", "data.root=2019,2020"])


@pytest.mark.parametrize("line", ["data.root=[1,2]", "data.root=[photos]", "data.root={1: 2}", "word_vectors=[a]"])
def test_a_list_is_no_path(line: str) -> None:
    with pytest.raises(UsageError, match=r"^" + re.escape(line) + ": a path is wanted, and no list") as error:
        compose(["data=own", *quoted_paths([line])])
    (quoted,) = shlex.split(str(error.value).rpartition(" is ")[2].removesuffix("."))
    assert OverridesParser.create().parse_overrides([quoted])[0].value() == line.partition("=")[2]


def test_a_number_of_thousands_of_digits_is_a_sentence() -> None:
    with pytest.raises(UsageError, match=r"^seed: a number has thousands of digits\. Correct it"):
        compose(["seed=" + "9" * 5000])


def test_every_path_of_conf_is_known() -> None:
    config = compose(["data=coco_karpathy", "data.root=a"])["data"] | compose(["data=text", "task=language"])["data"]
    paths = {f"data.{name}" for name in ("root", "file", "images", "text", "cache", "features_root") if name in config}
    assert paths == {each for each in PATHS if each.startswith("data.")}
