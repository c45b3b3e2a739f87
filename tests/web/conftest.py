"""The page's server in a thread, with two untrained captioners, and the system's Chromium."""

import os
import shutil
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from captioning.jobs.serve import listen

sys.path.append(str(Path(__file__).parent))  # for babblers

from babblers import Served, unasked, untrained

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture(scope="session")
def served(tiny_settings: list[str]) -> Iterator[Served]:
    uvicorn = pytest.importorskip("uvicorn", reason="needs captioning[web]")
    from captioning.web.app import make_app

    looks = untrained(tiny_settings, "decoder=show_attend_tell", "decoder.attention_size=8")
    captioners = {"looks": looks, "does not look": untrained(tiny_settings, "decoder=show_tell", seed=1)}
    answerer = unasked()
    listening = listen("127.0.0.1", 0)
    server = uvicorn.Server(
        uvicorn.Config(make_app(captioners, {"answers": answerer}), log_level="warning", access_log=False)
    )
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield Served(f"http://127.0.0.1:{listening.getsockname()[1]}", captioners, answerer)
    server.should_exit = True
    thread.join(10)
    assert not thread.is_alive()


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
