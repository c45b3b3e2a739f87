"""Runs of one epoch on tiny data, each command line once for all tests that look at it."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import wires


@pytest.fixture(scope="session")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Own data, see ``wires.draw``."""
    return wires.draw(tmp_path_factory.mktemp("photographs"))


@pytest.fixture(scope="session")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A text of 330 characters."""
    path = tmp_path_factory.mktemp("text") / "text.txt"
    path.write_text("".join(f"the {word} is {word};\n" for word in wires.WORDS))
    return path


@pytest.fixture(scope="session")
def places(photographs: Path, text: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """The settings that name the data, of captioning and of language."""
    features = tmp_path_factory.mktemp("features")
    return {
        "captioning": [f"data.root={photographs}", f"data.features_root={features}"],
        "language": [f"data.text={text}", f"data.cache={features}"],
    }


@pytest.fixture(scope="session")
def captioner(places: dict[str, list[str]]) -> Callable[..., list[str]]:
    """A command line of captioning, with further settings; without another encoder that of ``wires.Colours``."""

    def line(*more: str) -> list[str]:
        encoder = () if any(each.startswith("encoder=") for each in more) else wires.COLOURS
        return [*encoder, *wires.CAPTIONER, *places["captioning"], *more]

    return line


@pytest.fixture(scope="session")
def writer(places: dict[str, list[str]]) -> Callable[..., list[str]]:
    """A command line of language, with further settings."""
    return lambda *more: [*wires.WRITER, *places["language"], *more]


@pytest.fixture(scope="session")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Callable[[list[str]], wires.Seen]:
    """A command line to what a run of it does; the same one runs once."""
    known: dict[tuple[str, ...], wires.Seen] = {}

    def run(overrides: list[str]) -> wires.Seen:
        key = tuple(overrides)
        if key not in known:
            known[key] = wires.watch(overrides, tmp_path_factory.mktemp("run"))
        return known[key]

    return run
