"""README and docs say nothing that the code does not do: commands parse, targets, links and figures are there."""

import argparse
import ast
import csv
import importlib
import re
import shlex
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

import pytest
import yaml
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser

from captioning.__main__ import COMMANDS
from captioning.jobs.config import compose

ROOT = Path(__file__).resolve().parents[1]
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "data/README.md")),
    ROOT / "captioning" / "pretrained" / "README.md",
    *sorted((ROOT / "docs").rglob("*.md")),
]
PARSED = (
    "prepare",
    "evaluate",
    "results",
    "score",
    "caption",
    "memory",
    "sample",
    "cells",
    "gradients",
    "export",
    "report",
    "serve",
    "ask",
    "questions",
)  # by argparse; train is Hydra's


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
    pattern = re.fullmatch(r"glob\(([^,]*)(?:,.*)?\)", value)
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
            options = parser.parse_intermixed_args(arguments)  # as the commands do
        except SystemExit:
            pytest.fail(f"captioning {name} does not take {arguments}")
        if name == "prepare":
            compose(options.overrides)
    elif name == "train" and "--help" not in arguments:
        sweeping = "-m" in arguments or "--multirun" in arguments
        overrides = [word for word in arguments if not word.startswith("-")]
        assert all("=" in override for override in overrides)
        compose([one_of(override) for override in overrides] if sweeping else overrides)


def test_extras_and_scripts_that_the_pages_name_are_there() -> None:
    """``pip install "captioning[web]"`` names an extra, and ``python examples/…`` a file."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extras, installed, scripts = set(project["optional-dependencies"]), 0, 0
    for page in PAGES:
        for line in lines(page):
            words = shlex.split(line, comments=True)
            if "install" in words and words[:1] in (["pip"], ["python"]):
                for named in re.findall(r"\[([\w,]+)\]", line):
                    assert set(named.split(",")) <= extras, f"{page}: {line}"
                    installed += 1
            elif words[:1] == ["python"] and len(words) > 1 and words[1].endswith(".py"):
                assert (ROOT / words[1]).exists() or words[1] in page.read_text("utf-8").replace(line, ""), line
                scripts += 1
    assert installed >= 3 and scripts >= 1


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


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_python_imports_what_there_is(page: Path) -> None:
    for block in re.findall(r"^```python\n(.*?)^```", page.read_text("utf-8"), re.MULTILINE | re.DOTALL):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "captioning":
                module = importlib.import_module(node.module or "")
                assert [alias.name for alias in node.names if not hasattr(module, alias.name)] == []


def test_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text("utf-8").splitlines()) <= 160


GROUPS = sorted({path.name for path in (ROOT / "conf").iterdir() if path.is_dir()} - {"experiment", "hydra"})


@pytest.mark.parametrize("group", GROUPS)
def test_the_choices_are_those_of_the_groups(group: str) -> None:
    """The group's row in the table of choices names the group's files, and no others."""
    text = (ROOT / "docs" / "training.md").read_text("utf-8")
    row = re.search(rf"^\| `{group}` \| ([^|]*) \|", text, re.MULTILINE)
    assert row, f"no row of {group}"
    named = set(re.findall(r"`(\w+)`", row[1])) - {"_bn"}
    files = {file.stem for file in (ROOT / "conf" / group).glob("*.yaml") if not file.stem.startswith("_")} - {"base"}
    assert named <= files, f"{group}: there is no {named - files}"
    if group == "encoder":  # `resnet18` … `resnet152`, `vgg16` (and `_bn`)
        files = {name for name in files if not re.fullmatch(r"resnet(34|50|101)|vgg\d+_bn", name)}
    assert files <= named, f"{group}: the table names no {files - named}"


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


def rows_of(page: Path) -> list[list[str]]:
    """The cells of a page's rows whose first one is a decoder or an upper-case cell."""
    rows = re.findall(r"^\| ((?:`\w+`|RNN|LSTM|GRU)[^|\n]* \|.*) \|$", page.read_text("utf-8"), re.MULTILINE)
    return [[cell.strip() for cell in row.split("|")] for row in rows]


def near(text: str, value: str, digits: int = 1) -> bool:
    """Whether a page's figure is the table's, rounded."""
    return abs(float(text) - float(value)) <= 0.5001 * 10**-digits


@pytest.mark.parametrize("page", ["README.md", "docs/flickr8k.md"])
def test_the_figures_of_flickr8k_are_those_of_the_results(page: str) -> None:
    with (ROOT / "data" / "results" / "flickr8k.csv").open(encoding="utf-8") as file:
        results = list(csv.DictReader(file))
    begun = [row for row in results if "init_from=" not in row["overrides"]]
    others = {row["experiment"]: row for row in begun if "ema_decay=" in row["overrides"]}
    seeds = {"1"} if page == "README.md" else {row["seed"] for row in results}
    common = [row for row in results if not row["overrides"] and row["seed"] in seeds]
    rows = rows_of(ROOT / page)
    assert len(rows) == len(common)
    for cells, row in zip(rows, common, strict=True):
        assert cells[0].split("`")[1] == row["decoder"].split()[0]
        scores = [row[name] for name in ("BLEU-1", "BLEU-2", "BLEU-3", "BLEU-4", "ROUGE-L", "CIDEr")]
        assert all(near(text, value) for text, value in zip(cells[2:8], scores, strict=True)), cells
        assert cells[8] == f"{int(row['parameters']) / 1e6:.1f} M"
        if page == "README.md":
            parts = re.split("[;.]", (ROOT / page).read_text("utf-8").replace("\n", " "))
            assert any(row["commit"] in part and f"of {row['date']}" in part for part in parts), row["commit"]
            continue
        assert cells[9] == row["commit"]
        other = others.get(row["experiment"])
        assert bool(cells[10]) == (other is not None)
        if other:
            bleu, cider = cells[10].split(" / ")
            assert near(bleu, other["BLEU-4"]) and near(cider, other["CIDEr"]) and cells[11] == other["commit"]


def test_the_sweep_of_flickr8k_is_that_of_its_table() -> None:
    """Every experiment of the table, and none of another task or one that begins with another's weights."""
    (choice,) = re.findall(r"train -m '(experiment=glob\(.*\))'", (ROOT / "docs" / "flickr8k.md").read_text("utf-8"))
    with initialize_config_dir(str(ROOT / "conf"), version_base=None):
        parser = OverridesParser.create(config_loader=GlobalHydra.instance().config_loader())
        swept = set(parser.parse_overrides([choice])[0].sweep_string_iterator())
    with (ROOT / "data" / "results" / "flickr8k.csv").open(encoding="utf-8") as file:
        table = {row["experiment"] for row in csv.DictReader(file) if not row["overrides"]}
    files = {path.stem: path.read_text("utf-8") for path in (ROOT / "conf" / "experiment").glob("flickr8k_*.yaml")}
    others = {name for name, text in files.items() if "init_from:" in text or name.startswith("flickr8k_questions")}
    assert table <= swept == set(files) - others


def test_the_figures_of_searches_on_flickr8k_are_those_of_the_results() -> None:
    """Each row of a table with a search in its second column is a row of the results."""
    with (ROOT / "data" / "results" / "flickr8k.csv").open(encoding="utf-8") as file:
        results = list(csv.DictReader(file))
    text = (ROOT / "docs" / "flickr8k.md").read_text("utf-8")
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("| ")]
    compared = [cells for cells in rows if len(cells) > 8 and cells[1].startswith(("beam", "consensus", "neighbours"))]
    assert len(compared) > 8
    for cells in compared:
        said = [cell.removesuffix(" %") for cell in cells[3:9]]
        assert any(
            row["search"] == cells[1] and all(near(text, row[name]) for text, name in zip(said, SHOWN, strict=True))
            for row in results
            if row["METEOR"] and row["different"]
        ), cells


SHOWN = ("BLEU-1", "BLEU-4", "METEOR", "ROUGE-L", "CIDEr", "different")


def test_the_figures_of_characters_are_those_of_the_results() -> None:
    with (ROOT / "data" / "results" / "tinyshakespeare.csv").open(encoding="utf-8") as file:
        results = [row for row in csv.DictReader(file) if row["experiment"] == "char_rnn_table"]
    rows = {cells[0].lower(): cells[1:] for cells in rows_of(ROOT / "docs" / "characters.md")}
    assert len(results) == 9
    for row in results:
        nats, seconds = rows[row["cell"]][int(row["depth"]) - 1].removesuffix(" s").split(", ")
        assert near(nats, row["nats"], digits=3) and seconds == row["seconds"]
        assert row["commit"] in (ROOT / "docs" / "characters.md").read_text("utf-8")


def git(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True, text=True)


PAPERS = ROOT / "data" / "results" / "papers.csv"


def test_the_figures_of_papers_are_those_of_their_table() -> None:
    """Each row of Flickr8k is on the page as it is in the table, and nothing else is."""
    with PAPERS.open(encoding="utf-8") as file:
        papers = list(csv.DictReader(file))
    assert {row["checked"] for row in papers} == {"seen", "transcribed", "recalled"}
    assert all(row["source"] and row["kind"] in ("paper", "code") for row in papers)
    text = (ROOT / "docs" / "flickr8k.md").read_text("utf-8")
    shown = text.partition("\n| published |")[2].partition("\n\n")[0].splitlines()[2:]
    names = ("model", "encoder", "search", "BLEU-1", "BLEU-2", "BLEU-3", "BLEU-4", "METEOR", "ROUGE-L", "CIDEr")
    expected = [
        [*(row[name] for name in names), row["source"] + " (recalled, not checked)" * (row["checked"] == "recalled")]
        for row in papers
        if row["data"] == "flickr8k"
    ]
    assert [[cell.strip() for cell in line.strip("|").split("|")] for line in shown] == expected


JUDGED = ROOT / "data" / "results" / "questions_judged.csv"  # what a reader says of questions, not runs
OURS = sorted(set((ROOT / "data" / "results").glob("*.csv")) - {PAPERS, JUDGED})


@pytest.mark.parametrize("results", OURS, ids=lambda path: path.name)
def test_every_row_of_the_results_has_its_commit_and_date(results: Path) -> None:
    with results.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert rows
    for row in rows:
        assert re.fullmatch(r"[0-9a-f]{7,40}", row["commit"]) and re.fullmatch(r"\d{4}-\d\d-\d\d", row["date"]), row
    if shutil.which("git") is None or git("rev-parse", "--is-shallow-repository").stdout.strip() != "false":
        pytest.skip("needs the history of a full clone")
    for commit, date in {(row["commit"], row["date"]) for row in rows}:
        assert git("log", "-1", "--format=%ad", "--date=short", commit).stdout.strip() == date, commit
