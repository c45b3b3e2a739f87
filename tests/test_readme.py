"""README says nothing that the code does not do: its commands parse, its targets and links are there."""

import argparse
import importlib
import re
import shlex
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

import pytest
import yaml

from captioning.__main__ import COMMANDS
from captioning.jobs.config import compose

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", ROOT / "data" / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
PARSED = ("prepare", "evaluate", "score", "caption", "sample", "cells", "gradients")  # by argparse; train is Hydra's


def lines(page: Path) -> Iterator[str]:
    """The commands of a page's shell blocks, continued lines joined."""
    for block in re.findall(r"^```(?:bash|sh|console)\n(.*?)^```", page.read_text("utf-8"), re.MULTILINE | re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            yield line.strip().removeprefix("$ ")


def commands() -> list[list[str]]:
    """Each ``captioning …`` of the pages, as words."""
    found = []
    for page in PAGES:
        for line in lines(page):
            words = shlex.split(line, comments=True)
            while words and "=" in words[0]:
                words = words[1:]  # CUDA_VISIBLE_DEVICES=0 captioning …
            if words and words[0] == "captioning":
                found.append(words[1:])
    return found


def one_of(override: str) -> str:
    """``cell=rnn,lstm`` of a sweep as its first job's; a glob as the first file that it finds."""
    key, _, value = override.partition("=")
    pattern = re.fullmatch(r"glob\((.*)\)", value)
    if pattern:
        found = sorted((ROOT / "conf" / key).glob(f"{pattern[1]}.yaml"))
        assert found, f"{override} finds nothing"
        return f"{key}={found[0].stem}"
    return f"{key}={value.split(',')[0]}" if not re.match(r"[\[{(\"']", value) else override


@pytest.mark.parametrize("command", commands(), ids=" ".join)
def test_the_command_parses(command: list[str]) -> None:
    name, *arguments = command
    if name in ("--help", "--version"):
        return
    assert name in COMMANDS
    if name in PARSED:
        parser: argparse.ArgumentParser = importlib.import_module(f"captioning.jobs.{name}").parser()
        if "--help" in arguments:
            return
        try:
            options = parser.parse_args(arguments)
        except SystemExit:
            pytest.fail(f"captioning {name} does not take {arguments}")
        if name == "prepare":
            compose(options.overrides)
    elif name == "train" and "--help" not in arguments:
        sweeping = "-m" in arguments or "--multirun" in arguments
        overrides = [word for word in arguments if not word.startswith("-")]
        assert all("=" in override for override in overrides)
        compose([one_of(override) for override in overrides] if sweeping else overrides)


def test_the_targets_are_in_the_makefile() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    there = set(re.findall(r"^([a-z][\w-]*):", makefile, re.MULTILINE))
    named = {word for page in PAGES for line in lines(page) if line.startswith("make") for word in line.split()[1:]}
    named |= {match for page in PAGES for match in re.findall(r"`make ([a-z-]+)`", page.read_text("utf-8"))}
    assert {target for target in named if "=" not in target and not target.startswith(("-", "#"))} <= there


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_links_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)\s]+)\)", page.read_text("utf-8"))
    missing = [link for link in links if "://" not in link and not link.startswith(("#", "mailto:"))]
    missing = [link for link in missing if not (page.parent / link.partition("#")[0]).exists()]
    assert not missing


def test_the_choices_are_those_of_the_groups() -> None:
    """Where the table has a group's row, it names all of the group's files."""
    text = (ROOT / "README.md").read_text("utf-8")
    for group in ("data", "decoder", "cell", "search", "sampling", "optimizer"):
        row = re.search(rf"^\| `{group}`[^|]*\| (.*) \|$", text, re.MULTILINE)
        if row is None:
            continue
        files = {file.stem for file in (ROOT / "conf" / group).glob("*.yaml")} - {"base"}
        named = set(re.findall(r"`(\w+)`", row[1]))
        assert files <= named, f"{group}: README names no {files - named}"


def test_nothing_is_left_to_fill_in() -> None:
    for page in PAGES:
        assert "@@" not in page.read_text("utf-8")


def test_the_demo_captions_pictures_of_the_test_split() -> None:
    """The scenes are numbered through the splits, five in six for training and one in twelve each for the others."""
    recipe = (ROOT / "Makefile").read_text("utf-8")
    count = yaml.safe_load((ROOT / "conf" / "data" / "scenes.yaml").read_text("utf-8"))["count"]
    pattern = re.search(r"data/scenes/test/(\S+)\.png", recipe)
    assert pattern
    numbers = [number for number in range(1, count + 1) if fnmatch(f"{number:06}", pattern[1])]
    assert numbers and min(numbers) > count * 11 // 12
