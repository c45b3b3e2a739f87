"""Digests of files: right after every change of a file, read once, and never a traceback."""

import hashlib
import logging
import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from captioning.core.errors import CaptioningError
from captioning.data import digests as module
from captioning.data.digests import digest_of, digest_of_bytes, digests

N = 7


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    folder = tmp_path / "files"
    folder.mkdir()
    paths = [folder / f"{number}.txt" for number in range(N)]
    for number, path in enumerate(paths):
        path.write_text(f"content {number}")
    return paths


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files count as settled as soon as they are written: the file systems of tests have fine clocks."""
    monkeypatch.setattr(module, "SETTLED", -(10**9))


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that are read."""
    names, real = [], module._try

    def noting(path: str) -> module.Digested | str:
        names.append(Path(path).name)
        return real(path)

    monkeypatch.setattr(module, "_try", noting)
    return names


def right(found: np.ndarray, files: list[Path]) -> bool:
    wanted = [hashlib.blake2b(path.read_bytes(), digest_size=16).digest() for path in files]
    return found.shape == (len(files), 16) and [row.tobytes() for row in found] == wanted


def test_digests_are_those_of_the_contents(files: list[Path], tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(os.urandom(1_000_000))
    (tmp_path / "empty").touch()
    several = [*files, tmp_path / "large", files[0], tmp_path / "empty"]
    found = digests(several, tmp_path / "cache")
    assert right(found, several)
    for row, path in zip(found, several, strict=True):
        assert digest_of(path) == row.tobytes() == digest_of_bytes(path.read_bytes())
    assert digests([], tmp_path / "cache").shape == (0, 16)


@pytest.mark.usefixtures("settled")
def test_a_file_is_read_once(
    files: list[Path], tmp_path: Path, read: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert right(digests(files, tmp_path / "cache"), files)
    assert sorted(read) == sorted(path.name for path in files)
    monkeypatch.setattr(module, "save_array", pytest.fail)  # nothing is written either
    monkeypatch.chdir(tmp_path)
    assert right(digests([f"files/{path.name}" for path in files], "cache"), files)
    assert len(read) == N


def rewrite(path: Path) -> None:
    path.write_text("CONTENT 3")


def replace(path: Path) -> None:
    path.with_suffix(".new").write_text("CONTENT 3")
    path.with_suffix(".new").replace(path)


def link(path: Path) -> None:
    path.with_suffix(".new").write_text("CONTENT 3")
    path.unlink()
    path.symlink_to(path.with_suffix(".new"))


@pytest.mark.usefixtures("settled")
@pytest.mark.parametrize("change", [rewrite, replace, link])
def test_size_and_modification_time_alone_are_not_trusted(
    change: Callable[[Path], None], files: list[Path], tmp_path: Path, read: list[str]
) -> None:
    digests(files, tmp_path / "cache")
    before = files[3].stat()
    change(files[3])
    os.utime(files[3], ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (files[3].stat().st_size, files[3].stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    read.clear()
    assert right(digests(files, tmp_path / "cache"), files)
    assert read == ["3.txt"]


@pytest.mark.parametrize("rule", [True, False])
def test_a_change_within_one_step_of_the_clock(
    rule: bool, files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Git's "racily clean" files; without the rule the old digest would be believed."""
    real = module._status

    def coarse(status: os.stat_result) -> tuple[int, ...]:
        return (*real(status)[:3], 0, 0)

    monkeypatch.setattr(module, "_status", coarse)
    if not rule:
        monkeypatch.setattr(module, "SETTLED", -(10**9))
    digests(files, tmp_path / "cache")
    rewrite(files[3])
    assert right(digests(files, tmp_path / "cache"), files) is rule


def test_a_file_that_was_settled_is_kept(
    files: list[Path], tmp_path: Path, read: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Settled is what changed over two seconds before it was read; a change in the future is not."""
    now = max(path.stat().st_ctime_ns for path in files)
    for later, count in ((-(10**12), N), (10**9, N), (3 * 10**9, N), (3 * 10**9, 0)):
        monkeypatch.setattr(module.time, "time_ns", lambda later=later: now + later)
        read.clear()
        assert right(digests(files, tmp_path / "cache"), files)
        assert len(read) == count


@pytest.mark.usefixtures("settled")
def test_moved_files_have_a_table_of_their_own(files: list[Path], tmp_path: Path, read: list[str]) -> None:
    found = digests(files, tmp_path / "cache")
    moved = [Path(shutil.copy2(path, tmp_path / path.name)) for path in files]
    assert np.array_equal(digests(moved, tmp_path / "cache"), found)
    assert np.array_equal(digests(files[::-1], tmp_path / "cache"), found[::-1])
    assert len(list((tmp_path / "cache").iterdir())) == 3
    read.clear()
    assert np.array_equal(digests(files, tmp_path / "cache"), found)
    assert not read


def damaged(path: Path, how: str) -> None:
    content = path.read_bytes()
    if how == "folder":
        path.unlink()
        path.mkdir()
    elif how == "type":
        np.save(path, np.zeros(N))
    elif how == "shape":
        np.save(path, np.zeros(N, module.ENTRY))
    elif how == "objects":
        np.save(path, np.array([{}] * N), allow_pickle=True)
    else:
        parts = {"empty": b"", "short": content[:-1], "long": content + b"x", "zeros": bytes(len(content))}
        parts["bit"] = content[:-60] + bytes([content[-60] ^ 8]) + content[-59:]  # in the digest of the last file
        parts["garbage"] = b"\xff" * len(content)
        path.write_bytes(parts[how])


DAMAGES = ("empty", "short", "long", "zeros", "garbage", "bit", "type", "shape", "objects", "folder")


@pytest.mark.usefixtures("settled")
@pytest.mark.parametrize("how", DAMAGES)
def test_a_damaged_table_is_written_anew(how: str, files: list[Path], tmp_path: Path, read: list[str]) -> None:
    digests(files, tmp_path / "cache")
    (table,) = (tmp_path / "cache").iterdir()
    good = table.read_bytes()
    damaged(table, how)
    read.clear()
    assert right(digests(files, tmp_path / "cache"), files)
    assert len(read) == N
    assert how == "folder" or table.read_bytes() == good
    assert how == "folder" or np.load(table).shape == (N + 1,)


@pytest.mark.usefixtures("settled")
def test_without_a_cache_that_can_be_written_files_are_read_again(
    files: list[Path], tmp_path: Path, caplog: pytest.LogCaptureFixture, read: list[str]
) -> None:
    (tmp_path / "file").touch()
    with caplog.at_level(logging.INFO):
        for _ in range(2):
            assert right(digests(files, tmp_path / "file" / "cache"), files)
    assert len(read) == 2 * N and len(caplog.records) == 2
    assert "is not kept" in caplog.text and str(tmp_path / "file" / "cache") in caplog.text


def test_what_cannot_be_read_is_named(files: list[Path], tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    cases = [(tmp_path / "absent", "No such file or directory"), (tmp_path, "no regular file")]
    for path, reason in [*cases, (tmp_path / "pipe", "no regular file")]:
        with pytest.raises(CaptioningError, match=rf"1 file can't be read: {path} \({reason}\)\. Check"):
            digests([*files, path], tmp_path / "cache")
    with pytest.raises(CaptioningError, match=r"12 files can't be read: .*absent0 .*absent9 \([^)]*\), …\. Check"):
        digests([*files, *(tmp_path / f"absent{number}" for number in range(12))], tmp_path / "cache")
    with pytest.raises(CaptioningError, match=r"absent \(No such file or directory\)"):
        digest_of(tmp_path / "absent")
    with pytest.raises(CaptioningError, match="Is a directory"):
        digest_of(tmp_path)


@pytest.mark.usefixtures("settled")
def test_what_fails_while_reading_is_named_and_the_rest_is_kept(
    files: list[Path], tmp_path: Path, read: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = module._try
    with (
        monkeypatch.context() as patch,
        pytest.raises(CaptioningError, match=rf"1 file can't be read: {files[2]} \(bad"),
    ):
        patch.setattr(module, "_try", lambda path: "bad" if path == str(files[2]) else real(path))
        digests(files, tmp_path / "cache")
    read.clear()
    assert right(digests(files, tmp_path / "cache"), files)
    assert read == ["2.txt"]


@pytest.mark.usefixtures("settled")
def test_an_interrupt_keeps_what_is_read(
    files: list[Path], tmp_path: Path, read: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BLOCK", 2)
    real, lock = module._try, threading.Lock()

    def interrupted(path: str) -> module.Digested | str:
        with lock:
            if len(read) == 4:
                raise KeyboardInterrupt
            return real(path)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(module, "_try", interrupted)
        digests(files, tmp_path / "cache")
    read.clear()
    assert right(digests(files, tmp_path / "cache"), files)
    assert len(read) == N - 4


@pytest.mark.usefixtures("settled")
def test_the_table_is_saved_while_files_are_read(
    files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BLOCK", 2)
    monkeypatch.setattr(module, "SAVE_SECONDS", -1.0)
    rows, real = [], module.save_array

    def noting(path: Path, array: np.ndarray) -> None:
        rows.append(int(array["digest"][:-1].any(1).sum()))  # the last entry is of the others
        real(path, array)

    monkeypatch.setattr(module, "save_array", noting)
    digests(files, tmp_path / "cache")
    assert rows == [2, 4, 6, 7]


@pytest.mark.usefixtures("settled")
@pytest.mark.parametrize("time", [-1, 0, 2**33 * 10**9])
def test_odd_times_are_times(time: int, files: list[Path], tmp_path: Path, read: list[str]) -> None:
    os.utime(files[0], ns=(time, time))
    for _ in range(2):
        assert right(digests(files, tmp_path / "cache"), files)
    assert len(read) == N
