"""Ownership: this program overwrites only the files that it has written itself.

A folder is this program's own if it holds ``.captioning``, the mark: a JSON file that names the folder's purpose; names
such as ``config.yaml`` or ``manifest.json`` prove nothing. In any other folder a file is this program's own if the file
still has the content that ``.captioning`` records; a foreign file is moved aside before a new file takes its place.
"""

import errno
import hashlib
import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import IO, Any

from captioning.core.errors import CaptioningError
from captioning.core.files import UNFINISHED, atomic_write, write_error, write_json
from captioning.core.system import READ_ONLY, lock_open_file

log = logging.getLogger(__name__)

MARK = ".captioning"
PROGRAM = "captioning"


def kind_of(folder: str | os.PathLike[str]) -> str | None:
    """The purpose of a folder of this program (``"run"``, ``"features"``, …); None for a foreign folder."""
    kind = _read_mark(Path(folder)).get("kind")
    return kind if isinstance(kind, str) else None


def is_ours(folder: str | os.PathLike[str], kind: str) -> bool:
    """True if this program made a folder for the purpose ``kind``."""
    return kind_of(folder) == kind


def claim(folder: str | os.PathLike[str], kind: str, what: str, names: tuple[str, ...] | None = None) -> None:
    """Mark a folder as this program's own, unless it is marked already.

    Args:
        folder: the folder; ``claim`` makes a missing one.
        kind: the folder's purpose.
        what: the purpose in words, for the error's message ("scenes").
        names: the names (patterns) of the files to be written there; other files may lie beside them. None: the folder
            must be empty.

    Raises:
        CaptioningError: the folder holds a foreign file of one of these names, or has another purpose.
    """
    folder = Path(folder)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with _one_at_a_time(folder.parent):
            purpose = kind_of(folder)
            if purpose not in (None, kind):
                raise CaptioningError(
                    f"{folder}: this folder is used for something else ({purpose}). Choose another folder."
                )
            if purpose is None:
                refuse_foreign(folder, what, names)
                folder.mkdir(exist_ok=True)
                _write_mark(folder, {**_read_mark(folder), "kind": kind})
    except OSError as error:
        raise write_error(folder, error) from error


def refuse_foreign(folder: Path, what: str, names: tuple[str, ...] | None = None) -> None:
    """Refuse a folder that can't be claimed, see ``claim``."""
    if not folder.exists() and not folder.is_symlink():
        return
    if not folder.is_dir():
        raise CaptioningError(f"{folder}: this is no folder. Choose another place.")
    _refuse_foreign_mark(folder)
    there = sorted(path.name for path in folder.iterdir() if path.name != MARK)
    there = [name for name in there if not (UNFINISHED.fullmatch(name) and name.startswith(f".{MARK}."))]
    foreign = [name for name in there if names is None or any(Path(name).match(pattern) for pattern in names)]
    if foreign:
        first = ", ".join(foreign[:5]) + (", …" if len(foreign) > 5 else "")
        raise CaptioningError(
            f"{folder}: this holds something other than {what} ({first}), which this program has not written and will "
            "not touch. Choose another folder."
        )


def require_output(path: str | os.PathLike[str]) -> None:
    """Check, before the work begins, that its result can be written to a file.

    Raises:
        CaptioningError: the path is a folder, its folder can't be written to, or its name is that of this program's
            marks.
    """
    path = Path(path)
    try:
        if path.is_dir():
            raise CaptioningError(f"{path}: this is a folder. Name a file.")
        if path.name == MARK:
            raise CaptioningError(f"{path}: this name is used for something else. Choose another one.")
        path.parent.mkdir(parents=True, exist_ok=True)
        if not os.access(path.parent, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        raise write_error(path, error) from error


@contextmanager
def output(path: str | os.PathLike[str], mode: str = "w") -> Iterator[IO[Any]]:
    """Open a file that a user has named, as ``atomic_write`` does, and move a foreign file of that name aside.

    Args:
        path: the file; a path that is no regular file (``/dev/stdout``) is written to directly.
        mode: ``"w"`` for UTF-8 text, ``"wb"`` for bytes.

    Raises:
        CaptioningError: the path is a folder, the disk is full, or the folder can't be written to.
    """
    path = Path(path)
    require_output(path)
    if path.exists() and not path.is_file():
        try:
            with path.open(mode, encoding=None if "b" in mode else "utf-8") as file:
                yield file
        except OSError as error:
            raise write_error(path, error) from error
        return
    with atomic_write(path, mode) as file:
        yield file
        file.flush()
        with _one_at_a_time(path.parent):
            _vouch(path, _digest(Path(file.name)))


def write_json_output(path: str | os.PathLike[str], value: Any) -> None:
    """Write JSON to a file that a user has named, see ``output``."""
    with output(path) as file:
        json.dump(value, file, ensure_ascii=False, indent=1)
        file.write("\n")


def move_aside(path: Path) -> Path:
    """Rename a file to ``out.json.~1~``, or to the next free number."""
    for number in count(1):
        aside = path.with_name(f"{path.name}.~{number}~")
        if not aside.exists() and not aside.is_symlink():
            path.rename(aside)
            return aside
    raise AssertionError


def _vouch(path: Path, digest: str) -> None:
    """Record that a file of this content is ours, before the file takes its place; move a foreign file aside."""
    mark = _read_mark(path.parent)
    files = mark.get("files")
    files = files if isinstance(files, dict) else {}
    known = [each for each in files.get(path.name, []) if isinstance(each, str)]
    present = _digest(path) if path.is_file() else ""
    if [*([present] if present in known else []), digest] != known:
        # the present content stays in the list, so that both are known after a kill before the renaming
        files[path.name] = list(dict.fromkeys([*([present] if present in known else []), digest]))
        # where the mark can't be written (a folder shared with others), every existing file is moved aside
        with suppress(CaptioningError):
            _write_mark(path.parent, {**mark, "files": dict(sorted(files.items()))})
    if os.path.lexists(path) and present not in known:
        aside = move_aside(path)
        log.warning("%s: not written by this program, or changed since: kept as %s", path, aside.name)


def _read_mark(folder: Path) -> dict[str, Any]:
    """The content of a folder's mark; empty if the mark is missing or foreign."""
    try:
        mark = json.loads((folder / MARK).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return mark if isinstance(mark, dict) and mark.get("program") == PROGRAM else {}


def _write_mark(folder: Path, mark: dict[str, Any]) -> None:
    """Write a folder's mark, unless a foreign file has the mark's name."""
    _refuse_foreign_mark(folder)
    write_json(folder / MARK, {"program": PROGRAM, **mark})


def _refuse_foreign_mark(folder: Path) -> None:
    if os.path.lexists(folder / MARK) and not _read_mark(folder):
        raise CaptioningError(f"{folder / MARK}: this file is not one of this program. Move it away.")


@contextmanager
def _one_at_a_time(folder: Path) -> Iterator[None]:
    """Let one process at a time read and change a folder's mark; without effect if the file system has no locks."""
    if not hasattr(os, "O_DIRECTORY"):  # Windows opens no folders
        yield
        return
    descriptor = os.open(folder, READ_ONLY | os.O_DIRECTORY)
    try:
        with suppress(OSError):
            lock_open_file(descriptor, wait=True)
        yield
    finally:
        os.close(descriptor)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
