"""Elsewhere than on Linux: what Windows and macOS lack is hidden, and the demo's path runs."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from captioning.core import system
from captioning.core.locks import HeldError, lock

HIDDEN = """
import os
import sys

for name in ("fcntl", "resource", "pwd", "grp"):
    sys.modules[name] = None
for name in (
    "sched_getaffinity", "preadv", "pread", "pwrite", "killpg", "getuid", "O_NOFOLLOW", "O_DIRECTORY", "O_CLOEXEC",
):
    if hasattr(os, name):
        delattr(os, name)
import multiprocessing
import signal

del signal.alarm, signal.SIGALRM
os.cpu_count = lambda: 1  # one process extracts features: each imports everything anew
from captioning.__main__ import main

if __name__ == "__main__":
    multiprocessing.set_start_method("spawn")
    for line in LINES:
        status = main(line)
        assert status == 0, (line, status)
"""


def test_the_demo_s_path_without_what_linux_alone_has(
    tiny: Callable[..., list[str]], tiny_data: Path, tmp_path: Path
) -> None:
    """As on Windows, the process that extracts features is spawned and not forked."""
    settings = tiny("name=run", "trainer.max_epochs=1", "encoder.last_stage=layer1")
    places = [f"data.root={tiny_data}", f"data.features_root={tmp_path / 'features'}"]
    run = str(tmp_path / "runs" / "run")
    lines = [
        ["train", *settings],
        ["caption", str(tiny_data / "1.png"), "--checkpoint", run, "--json", str(tmp_path / "captions.json")],
        ["evaluate", run, "--split", "test", *places, "data.workers=1"],
    ]
    script = tmp_path / "hidden.py"
    script.write_text(f"LINES = {lines!r}\n{HIDDEN}")
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2]), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, script],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "captions.json").exists() and "CIDEr" in done.stdout


class Windows:
    """``msvcrt``'s locks of files: a byte of a file, held by one descriptor."""

    LK_NBLCK = 2

    def __init__(self) -> None:
        self.held: dict[int, int] = {}

    def locking(self, descriptor: int, mode: int, size: int) -> None:
        assert mode == self.LK_NBLCK and size == 1 and os.lseek(descriptor, 0, os.SEEK_CUR) == system.FAR
        if self.held.setdefault(os.fstat(descriptor).st_ino, descriptor) != descriptor:
            raise PermissionError(13, "Permission denied")


def test_the_locks_of_windows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(system, "_fcntl", None)
    monkeypatch.setattr(system, "_msvcrt", windows := Windows())
    with (tmp_path / "file").open("w+") as first, (tmp_path / "file").open("w+") as second:
        first.write("abc")
        first.flush()
        system.lock_open_file(first.fileno())
        assert first.tell() == 3  # the place in the file is what it was
        with pytest.raises(PermissionError):
            system.lock_open_file(second.fileno())
        monkeypatch.setattr(system.time, "sleep", lambda _: windows.held.clear())
        system.lock_open_file(second.fileno(), wait=True)
    windows.held.clear()
    with lock(tmp_path / ".lock"):
        pass
    windows.held[(tmp_path / ".lock").stat().st_ino] = -1
    with pytest.raises(HeldError, match=rf"in use by process {os.getpid()} of"), lock(tmp_path / ".lock"):
        pass


@pytest.mark.parametrize(
    ("there", "count"),
    [
        ({"process_cpu_count": lambda: 3}, 3),
        ({"sched_getaffinity": lambda _: {1, 5}}, 2),
        ({"cpu_count": lambda: 7}, 7),
        ({"cpu_count": lambda: None}, 1),
    ],
)
def test_processors(there: dict[str, Callable[..., object]], count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(system, "os", SimpleNamespace(**there))
    assert system.processors() == count
