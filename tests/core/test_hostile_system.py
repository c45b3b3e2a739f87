"""Full disks, closed and read-only folders, few file handles, no HOME, a clock running backwards, links to nothing."""

import ctypes
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from captioning.__main__ import main

InChild = Callable[..., "subprocess.CompletedProcess[str]"]
Settings = Callable[..., list[str]]


def unprivileged() -> None:
    """Give up root's capabilities, so that permissions apply."""
    if os.getuid() == 0:
        header, none = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
        assert ctypes.CDLL(None).capset(header, none) == 0


@pytest.fixture(scope="module")
def place(tiny_data: Path, settings: Settings, in_child: InChild) -> Iterator[Path]:
    """A folder with data, a store of features and a trained run, in which nothing may be written."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        shutil.copytree(tiny_data, root / "data")
        done = in_child(["train", *settings(root), "trainer.max_epochs=1"], cwd=root)
        assert done.returncode == 0, done.stderr
        for path in [root, *root.rglob("*")]:
            path.chmod(0o555 if path.is_dir() else 0o444)
        yield root
        for path in (root, *(each for each in root.rglob("*") if each.is_dir())):
            path.chmod(0o755)


@pytest.fixture(scope="module")
def settings(tiny_settings: list[str]) -> Settings:
    """A function that gives the settings of a tiny run in a folder."""

    def of(root: Path, out: str = "runs") -> list[str]:
        places = [f"data.root={root / 'data'}", f"data.features_root={root / 'features'}", f"out={root / out}"]
        return [*tiny_settings, *places, "name=run", "test=false"]

    return of


def said(done: "subprocess.CompletedProcess[str]", status: int = 1) -> str:
    assert done.returncode == status and "Traceback" not in done.stderr + done.stdout, done.stderr
    return done.stderr


def test_a_disk_that_fills_leaves_nothing_half_written(
    place: Path, settings: Settings, tmp_path: Path, in_child: InChild
) -> None:
    """No file may grow beyond 100 kB: the checkpoint can't be written; the same command goes on later."""

    def full() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))

    line = ["train", *settings(place), f"out={tmp_path}", "trainer.max_epochs=1"]
    assert "best.ckpt: can't be written (File too large)" in said(in_child(line, cwd=tmp_path, before=full))
    assert not list(tmp_path.rglob("*.ckpt")) and not list(tmp_path.rglob(".*.captioning-*"))
    assert not (tmp_path / "run" / "summary.json").exists()
    said(in_child(line, cwd=tmp_path), 0)
    ours, theirs = (
        torch.load(folder / "checkpoints" / "last.ckpt") for folder in (tmp_path / "run", place / "runs" / "run")
    )
    assert all(torch.equal(each, theirs["state_dict"][name]) for name, each in ours["state_dict"].items())


def test_a_complete_store_is_read_where_nothing_can_be_written(
    place: Path, settings: Settings, tmp_path: Path, in_child: InChild
) -> None:
    """Data and features of somebody else; the run goes to a folder of one's own."""
    line = ["train", *settings(place), f"out={tmp_path}", "trainer.max_epochs=1"]
    said(in_child(line, cwd=tmp_path, before=unprivileged), 0)


def test_what_can_not_be_written_or_read_is_named(
    place: Path, settings: Settings, tmp_path: Path, in_child: InChild
) -> None:
    run, data = place / "runs" / "run", place / "data"

    def of(*line: object) -> str:
        return said(in_child(line, cwd=place, before=unprivileged))

    assert f"{place / 'other'}" in of("train", *settings(place, "other"))
    assert f"{place / 'new'}" in of("train", *settings(place), f"data.features_root={place / 'new'}", f"out={tmp_path}")
    photo = str(data / "1.png")
    assert f"{place / 'a.json'}: can't be written" in of(
        "caption", photo, "--checkpoint", run, "--json", place / "a.json"
    )
    (data / "2.png").chmod(0)
    done = in_child(["caption", photo, str(data / "2.png"), "--checkpoint", str(run)], cwd=place, before=unprivileged)
    assert f"{data / '2.png'}: the picture can't be read (Permission denied)" in said(done)
    assert done.stdout.startswith(photo)
    (run / "checkpoints").chmod(0)
    assert "Permission denied" in of("caption", photo, "--checkpoint", run)
    (run / "checkpoints").chmod(0o555), (data / "2.png").chmod(0o444)


def test_few_handles_no_home_and_a_clock_that_runs_backwards(
    place: Path, settings: Settings, tmp_path: Path, in_child: InChild
) -> None:
    def odd() -> None:
        handles = len([*Path("/proc/self/fd").iterdir()]) + 44  # those of the forked process, and 44 more
        resource.setrlimit(resource.RLIMIT_NOFILE, (handles, handles))
        os.environ.pop("HOME")
        clock = iter(range(2_000_000_000, 0, -3600))
        time.time = lambda: float(next(clock))

    line = ["train", *settings(place), f"out={tmp_path}", "trainer.max_epochs=1"]
    said(in_child(line, cwd=tmp_path, before=odd), 0)
    ours, theirs = (
        torch.load(folder / "checkpoints" / "last.ckpt") for folder in (tmp_path / "run", place / "runs" / "run")
    )
    assert all(torch.equal(each, theirs["state_dict"][name]) for name, each in ours["state_dict"].items())


def test_links_to_nothing_are_named(place: Path, settings: Settings, tmp_path: Path, in_child: InChild) -> None:
    nowhere = tmp_path / "nowhere"
    for name in ("out", "table.csv", "run"):
        (tmp_path / name).symlink_to(nowhere / name)
    photo = str(place / "data" / "1.png")
    for line in (
        ["train", *settings(place), f"data.root={tmp_path / 'table.csv'}"],
        ["caption", photo, "--checkpoint", str(tmp_path / "run")],
        ["evaluate", str(tmp_path / "run")],
    ):
        assert str(tmp_path) in said(in_child(line, cwd=tmp_path))


def test_a_worker_that_cannot_hand_on_ends() -> None:
    """The loader waited for its batch for ever, with no file handle left."""
    code = (
        "from multiprocessing import Queue\n"
        "from captioning.core.signals import end_when_unheard\n"
        "end_when_unheard()\n"
        "queue = Queue()\n"
        "queue.put(lambda: 0)\n"  # which can't be pickled
        "import time; time.sleep(60)\n"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=50, check=False)
    assert ended.returncode == 1 and "can't hand on what it has read" in ended.stderr


def test_a_worker_s_end_is_a_sentence(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def ended(_: object) -> int:
        raise RuntimeError("DataLoader worker (pid(s) 7) exited unexpectedly")

    monkeypatch.setattr("captioning.jobs.score.main", ended)
    assert main(["score"]) == 1
    assert "exited unexpectedly. No file handles or no memory may be left: raise" in capsys.readouterr().err
