"""The documentation builds strictly, holds together and needs nothing from elsewhere; the repository's forms parse."""

import ast
import re
import subprocess
import sys
from datetime import date
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
import yaml

import captioning

ROOT = Path(__file__).resolve().parents[1]


class Links(HTMLParser):
    """What a page asks for (scripts, styles, pictures), where its links lead, and the places that it has."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.wanted: list[str] = []
        self.links: list[str] = []
        self.places: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = {name: value or "" for name, value in attrs}
        self.places |= {attributes[name] for name in ("id", "name") if name in attributes}
        if "src" in attributes:
            self.wanted.append(attributes["src"])
        if "href" in attributes:
            relation = attributes.get("rel", "").split()
            fetched = tag == "link" and {"stylesheet", "icon", "preload", "preconnect"} & set(relation)
            (self.wanted if fetched else self.links).append(attributes["href"])


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built as ``make docs`` builds it."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, Links]:
    found = {path: Links(path.read_text("utf-8")) for path in sorted(site.rglob("*.html")) if path.name != "404.html"}
    assert len(found) > 35
    return found


def test_no_page_asks_for_anything_from_elsewhere(pages: dict[Path, Links]) -> None:
    for page, found in pages.items():
        assert [each for each in found.wanted if "//" in each and not each.startswith("data:")] == [], page


def test_every_link_and_picture_of_the_site_is_there(pages: dict[Path, Links]) -> None:
    for page, found in pages.items():
        for link in [*found.links, *found.wanted]:
            address = urlsplit(link)
            if address.scheme or address.netloc:
                continue
            target = (page.parent / unquote(address.path)).resolve() if address.path else page
            target = target / "index.html" if target.is_dir() else target
            assert target.exists(), f"{page.name}: {link}"
            if target in pages and address.fragment and not address.fragment.startswith("__"):
                assert unquote(address.fragment) in pages[target].places, f"{page.name}: {link}"


def test_every_page_is_reached_from_the_start(site: Path, pages: dict[Path, Links]) -> None:
    reached, ahead = set(), [site / "index.html"]
    while ahead:
        page = ahead.pop()
        if page in reached or page not in pages:
            continue
        reached.add(page)
        ahead += [(page.parent / unquote(urlsplit(link).path)).resolve() for link in pages[page].links]
    assert reached == set(pages)


def test_equations_of_the_notebooks_are_drawn(site: Path) -> None:
    equations = 0
    for notebook in (ROOT / "notebooks").glob("*.ipynb"):
        page = (site / "notebooks" / f"{notebook.stem}.html").read_text("utf-8")
        written = notebook.read_text("utf-8").count("$$") // 2
        assert page.count("<math") == written and "$$" not in page, notebook.name
        equations += written
    assert equations


def test_the_reference_has_every_public_name(site: Path) -> None:
    reference = "".join(page.read_text("utf-8") for page in (site / "api").glob("*.html"))
    named = set(re.findall(r'<h\d id="captioning\.([\w.]+)"', reference))
    assert {name.rpartition(".")[2] for name in named} >= set(captioning.__all__) - {"__version__"}
    assert {"core.features.Features", "cells.LSTM", "decoders.ShowAttendTell", "search.Beam"} <= named


def test_every_extension_is_shown_with_its_commands() -> None:
    """Each module that the tests add from outside is on the page that says how to add one."""
    page = (ROOT / "docs" / "extending.md").read_text("utf-8")
    shown = set(re.findall(r'^--8<-- "([^"]+)"$', page, re.MULTILINE))
    modules = sorted((ROOT / "tests" / "extending" / "modules").glob("*.py"))
    assert len(modules) == 7
    for module in modules:
        assert module.relative_to(ROOT).as_posix() in shown
        told = ast.get_docstring(ast.parse(module.read_text("utf-8"))) or ""
        commands = [line.strip() for line in told.splitlines() if line.strip().startswith("captioning ")]
        assert commands and all(f"\n{command}\n" in page for command in commands), module.name


class Loader(yaml.SafeLoader):
    """Of YAML in which mkdocs and Hydra may write tags of their own."""


Loader.add_multi_constructor("!", lambda loader, suffix, node: suffix)
FORMS = sorted(
    path
    for pattern in ("*.yml", "*.cff", ".*.yaml", ".github/**/*.yml", "conf/**/*.yaml")
    for path in ROOT.glob(pattern)
)


def load(path: Path) -> Any:
    return yaml.load(path.read_text("utf-8"), Loader)


def test_all_yaml_parses() -> None:
    assert len(FORMS) > 60
    for path in FORMS:
        assert isinstance(load(path), dict) or path.is_relative_to(ROOT / "conf"), path  # a choice may set nothing


def test_the_workflow_runs_the_two_commands() -> None:
    workflow = load(ROOT / ".github" / "workflows" / "ci.yml")
    runs = {name: [step["run"] for step in job["steps"] if "run" in step] for name, job in workflow["jobs"].items()}
    assert (runs["test"], runs["demo"]) == (["make test"], ["make demo"])
    assert {*workflow["jobs"]["elsewhere"]["strategy"]["matrix"]["system"]} == {"macos-latest", "windows-latest"}
    assert any(each.startswith("captioning train experiment=demo") for each in runs["elsewhere"])
    assert any("pytest" in each for each in runs["elsewhere"])
    lowest = workflow["jobs"]["test"]["strategy"]["matrix"]["python"][0]
    assert f'requires-python = ">={lowest}"' in (ROOT / "pyproject.toml").read_text("utf-8")


@pytest.mark.parametrize("form", ["bug", "feature"])
def test_the_issue_forms_are_forms(form: str) -> None:
    """GitHub's schema: a name, a description, and fields with a type, an id of their own and a label."""
    content = load(ROOT / ".github" / "ISSUE_TEMPLATE" / f"{form}.yml")
    assert content["name"] and content["description"]
    fields = content["body"]
    assert {field["type"] for field in fields} <= {"markdown", "textarea", "input", "dropdown", "checkboxes"}
    assert len({field["id"] for field in fields}) == len(fields)
    assert all(field["attributes"]["label"] for field in fields)


def test_the_citation_is_of_this_version() -> None:
    """The Citation File Format 1.2.0: what it requires, and the types of what is given."""
    citation = load(ROOT / "CITATION.cff")
    assert citation["cff-version"] == "1.2.0"
    assert isinstance(citation["message"], str) and isinstance(citation["title"], str)
    assert citation["type"] in ("software", "dataset")
    assert citation["authors"] and all("name" in author or "family-names" in author for author in citation["authors"])
    assert set(citation) <= {
        *("cff-version", "message", "title", "type", "authors", "version", "date-released", "license", "keywords"),
        *("abstract", "commit", "contact", "doi", "identifiers", "preferred-citation", "references", "repository"),
        *("repository-code", "repository-artifact", "license-url", "url"),
    }
    assert citation["version"] == captioning.__version__
    assert isinstance(citation["date-released"], date)
    assert f"## [{citation['version']}] - {citation['date-released']}" in (ROOT / "CHANGELOG.md").read_text("utf-8")


def test_the_changelog_keeps_its_form() -> None:
    """https://keepachangelog.com: Unreleased first, then versions, newest first; six kinds of changes."""
    heads = re.findall(r"^## (.*)$", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)
    assert heads[0] == "[Unreleased]"
    dates = [re.fullmatch(r"\[\d+\.\d+\.\d+\] - (\d{4}-\d\d-\d\d)", head)[1] for head in heads[1:]]  # type: ignore[index]
    assert dates == sorted(dates, reverse=True) and dates
    kinds = set(re.findall(r"^### (.*)$", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE))
    assert kinds <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


def test_hooks_before_a_commit_are_those_of_make_test() -> None:
    hooks = {hook["id"]: hook for repo in load(ROOT / ".pre-commit-config.yaml")["repos"] for hook in repo["hooks"]}
    assert {"ruff", "ruff-format", "mypy", "end-of-file-fixer", "check-added-large-files"} <= set(hooks)
    assert all(hooks[name]["entry"].startswith(".venv/bin/") for name in ("ruff", "ruff-format", "mypy"))


def test_help_names_the_targets() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    done = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True)
    named = set(re.findall(r"^make (\S+)", done.stdout, re.MULTILINE))
    assert {"demo", "test", "test-fast", "format", "docs", "bench"} <= named
    assert named <= set(re.findall(r"^([a-z][\w-]*):", makefile, re.MULTILINE))
