"""Files are whole or not there, and errors are sentences."""

import errno
import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from captioning.core.errors import CaptioningError
from captioning.core.files import atomic_write, read_json, write_json


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("interruption", [RuntimeError, KeyboardInterrupt])
def test_an_interrupted_write_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, interruption: type[BaseException]
) -> None:
    path = tmp_path / "file.txt"
    path.write_text("old")
    with pytest.raises(interruption), atomic_write(path) as file:
        file.write("new")
        file.flush()
        raise interruption
    assert path.read_text() == "old"
    assert names(tmp_path) == ["file.txt"]


def test_the_file_has_its_name_only_once_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "file.bin"
    with atomic_write(path, "wb") as file:
        file.write(b"\x00\xff")
        file.flush()
        assert not path.exists()
    assert path.read_bytes() == b"\x00\xff"
    assert names(path.parent) == ["file.bin"]


@pytest.mark.parametrize("fails", ["write", "fsync"])
def test_a_full_disk_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: str) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    path = tmp_path / "file.txt"
    path.write_text("old")
    if fails == "fsync":
        monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CaptioningError, match=rf"{path}: the disk is full.*Free some space"), atomic_write(path) as f:
        f.write("new")
        if fails == "write":
            full()
    assert path.read_text() == "old"
    assert names(tmp_path) == ["file.txt"]


def test_what_else_fails_while_a_file_is_written_keeps_its_own_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"other\.txt"), atomic_write(tmp_path / "file.txt") as file:
        file.write((tmp_path / "other.txt").read_text())
    with pytest.raises(PermissionError, match="asked"), atomic_write(tmp_path / "file.txt"):
        raise PermissionError(errno.EACCES, "asked of another file", "elsewhere")
    assert names(tmp_path) == []


def test_a_file_that_is_a_folder_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(CaptioningError, match=f"{tmp_path / 'folder'}: can't be written"):
        write_json(tmp_path / "folder", [])
    assert names(tmp_path) == ["folder"]


def test_a_folder_that_is_a_file_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(CaptioningError, match="can't be written"):
        write_json(tmp_path / "file" / "a.json", [])


@pytest.fixture(params=[0o022, 0o077, 0o002])
def mask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def test_permissions_are_those_of_an_ordinary_file(tmp_path: Path, mask: int) -> None:
    with atomic_write(tmp_path / "atomic") as file:
        file.write("")
    (tmp_path / "ordinary").touch()
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("atomic", "ordinary")]
    assert modes[0] == modes[1] == 0o666 & ~mask


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(st.characters(codec="utf-8")),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner),
    max_leaves=10,
)


@settings(max_examples=40)
@given(json_values)
def test_json_there_and_back(tmp_path_factory: pytest.TempPathFactory, value: object) -> None:
    path = tmp_path_factory.getbasetemp() / "value.json"
    write_json(path, value)
    assert read_json(path) == value


def test_half_of_a_surrogate_pair_does_not_stop_a_write(tmp_path: Path) -> None:
    write_json(tmp_path / "file.json", ["a \ud83d dog", "☃"])
    assert json.loads((tmp_path / "file.json").read_text("utf-8")) == ["a \ud83d dog", "☃"]
    with atomic_write(tmp_path / "file.txt") as file:
        file.write("a \udcff dog ☃")
    assert (tmp_path / "file.txt").read_text("utf-8") == "a \\udcff dog ☃"


def test_json_that_breaks_is_a_sentence_with_the_line(tmp_path: Path) -> None:
    path = tmp_path / "broken.json"
    path.write_text(json.dumps({"a": 1, "b": 2}, indent=1)[:-5])
    with pytest.raises(CaptioningError, match=rf"{path}: this results file is not valid JSON \(line 3: .*cut short"):
        read_json(path, "results file")


def test_json_that_is_not_text_not_there_or_a_folder_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "picture.json").write_bytes(b"\xff\xd8\xff\xe0")
    with pytest.raises(CaptioningError, match=r"picture\.json, line 1: this is not UTF-8 text"):
        read_json(tmp_path / "picture.json")
    with pytest.raises(CaptioningError, match="there is no such results file"):
        read_json(tmp_path / "absent.json", "results file")
    with pytest.raises(CaptioningError, match="can't be read"):
        read_json(tmp_path)
