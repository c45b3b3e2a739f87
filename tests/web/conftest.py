"""The page's server in a thread, with two untrained captioners, and the system's Chromium."""

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.append(str(Path(__file__).parent))  # for babblers

from babblers import Served, serving, unasked, untrained

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture(scope="session")
def served(tiny_settings: list[str]) -> Iterator[Served]:
    looks = untrained(tiny_settings, "decoder=show_attend_tell", "decoder.attention_size=8")
    captioners = {"looks": looks, "does not look": untrained(tiny_settings, "decoder=show_tell", seed=1)}
    with serving(captioners, unasked()) as found:
        yield found


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """The system's Chromium; the tests skip where there is none."""
    api = pytest.importorskip("playwright.sync_api", reason="needs the Python package playwright")
    program = next(
        (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None
    )
    if program is None:
        pytest.skip("needs Chromium (Debian: apt-get install chromium), which is not here")
    with api.sync_playwright() as playwright:
        root = ["--no-sandbox"] if os.geteuid() == 0 else []
        launched = playwright.chromium.launch(executable_path=program, args=[*root, "--disable-dev-shm-usage"])
        yield launched
        launched.close()
