"""Full disks, closed and read-only folders, few file handles, no HOME, a clock running backwards, links to nothing."""

import os
import resource
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from conftest import TINY

InChild = Callable[..., "subprocess.CompletedProcess[str]"]
NOBODY = 65534


def unprivileged() -> None:
    """Become a user to whom permissions apply: root may write anywhere."""
    if os.getuid() == 0:
        os.setgroups([]), os.setgid(NOBODY), os.setuid(NOBODY)


@pytest.fixture(scope="module")
def place(tiny_data: Path, in_child: InChild) -> Iterator[Path]:
    """A folder that other users may read, with data, a store of features and a trained run."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        shutil.copytree(tiny_data, root / "data")
        done = in_child(["train", *settings(root), "trainer.max_epochs=1"], cwd=root)
        assert done.returncode == 0, done.stderr
        root.chmod(0o755)
        yield root


def settings(root: Path, out: str = "runs") -> list[str]:
    return [
        *(*TINY, f"data.root={root / 'data'}", f"data.features_root={root / 'features'}", f"out={root / out}"),
        *("name=run", "test=false"),
    ]


def said(done: "subprocess.CompletedProcess[str]", status: int = 1) -> str:
    assert done.returncode == status and "Traceback" not in done.stderr + done.stdout, done.stderr
    return done.stderr


def test_a_disk_that_fills_leaves_nothing_half_written(place: Path, tmp_path: Path, in_child: InChild) -> None:
    """No file may grow beyond 100 kB: the checkpoint can't be written; the same command goes on later."""

    def full() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))

    line = ["train", *settings(place), f"out={tmp_path}", "trainer.max_epochs=1"]
    assert "last.ckpt: can't be written (File too large)" in said(in_child(line, cwd=tmp_path, before=full))
    assert not list(tmp_path.rglob("*.ckpt")) and not list(tmp_path.rglob(".*.captioning-*"))
    assert not (tmp_path / "run" / "summary.json").exists()
    said(in_child(line, cwd=tmp_path), 0)
    ours, theirs = (
        torch.load(folder / "checkpoints" / "last.ckpt") for folder in (tmp_path / "run", place / "runs" / "run")
    )
    assert all(torch.equal(each, theirs["state_dict"][name]) for name, each in ours["state_dict"].items())


def test_a_complete_store_is_read_where_nothing_can_be_written(place: Path, tmp_path: Path, in_child: InChild) -> None:
    """Data and features of somebody else; the run goes to a folder of one's own."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o777)  # noqa: PTH101
        line = ["train", *settings(place), f"out={folder}", "trainer.max_epochs=1"]
        said(in_child(line, cwd=Path(folder), before=unprivileged), 0)


def test_what_can_not_be_written_or_read_is_named(place: Path, in_child: InChild) -> None:
    run, data = place / "runs" / "run", place / "data"

    def of(*line: object) -> str:
        return said(in_child(line, cwd=place, before=unprivileged))

    assert f"{place / 'other'}" in of("train", *settings(place, "other"))
    assert f"{place / 'new'}" in of(
        "train", *settings(place), f"data.features_root={place / 'new'}", f"out={place / 'other'}"
    )
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
    (run / "checkpoints").chmod(0o755), (data / "2.png").chmod(0o644)


def test_few_handles_no_home_and_a_clock_that_runs_backwards(place: Path, tmp_path: Path, in_child: InChild) -> None:
    def odd() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (48, 48))
        os.environ.pop("HOME")
        clock = iter(range(2_000_000_000, 0, -3600))
        time.time = lambda: float(next(clock))

    line = ["train", *settings(place), f"out={tmp_path}", "trainer.max_epochs=1", "data.workers=1"]
    said(in_child(line, cwd=tmp_path, before=odd), 0)
    ours, theirs = (
        torch.load(folder / "checkpoints" / "last.ckpt") for folder in (tmp_path / "run", place / "runs" / "run")
    )
    assert all(torch.equal(each, theirs["state_dict"][name]) for name, each in ours["state_dict"].items())


def test_links_to_nothing_are_named(place: Path, tmp_path: Path, in_child: InChild) -> None:
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
