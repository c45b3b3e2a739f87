"""What this program may overwrite: what it has written itself, and nothing else.

A folder is this program's own if it holds ``.captioning``, a JSON file that says so and what for; names such as
``config.yaml`` or ``manifest.json`` prove nothing. In any other folder a file is this program's own if it still has the
content that ``.captioning`` says was written there; what has not is moved aside before another takes its place.
"""

import errno
import fcntl
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

log = logging.getLogger(__name__)

MARK = ".captioning"
PROGRAM = "captioning"


def kind_of(folder: str | os.PathLike[str]) -> str | None:
    """What this program made a folder for (``"run"``, ``"features"``, …); None where it is not its own."""
    kind = _read_mark(Path(folder)).get("kind")
    return kind if isinstance(kind, str) else None


def is_ours(folder: str | os.PathLike[str], kind: str) -> bool:
    """Whether this program made a folder, as what ``kind`` names."""
    return kind_of(folder) == kind


def claim(folder: str | os.PathLike[str], kind: str, what: str, names: tuple[str, ...] | None = None) -> None:
    """Make a folder this program's own, unless it is already.

    Args:
        folder: is made where it is missing.
        kind: what it is for.
        what: the same, for the sentence ("scenes").
        names: of what will be written there; other files may stand beside it. None: the folder must be empty.

    Raises:
        CaptioningError: the folder holds, under one of these names, what this program has not written, or is its own
            for another purpose.
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
    """Check, before work whose result it will take, that a file can have this path.

    Raises:
        CaptioningError: it is a folder, its folder can't be written to, or it is the name of this program's own marks.
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
    """``atomic_write`` to a place that a user has chosen: what this program has not written there is moved aside.

    Args:
        path: the file. What is no regular file (``/dev/stdout``) is written to as it is.
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
    """``write_json`` to a place that a user has chosen, see ``output``."""
    with output(path) as file:
        json.dump(value, file, ensure_ascii=False, indent=1)
        file.write("\n")


def move_aside(path: Path) -> Path:
    """Give a file another name, ``out.json.~1~`` or the next that is free."""
    for number in count(1):
        aside = path.with_name(f"{path.name}.~{number}~")
        if not aside.exists() and not aside.is_symlink():
            path.rename(aside)
            return aside
    raise AssertionError


def _vouch(path: Path, digest: str) -> None:
    """Say that a file of this content is ours, before it takes its place; move a foreign one out of the way."""
    mark = _read_mark(path.parent)
    files = mark.get("files")
    files = files if isinstance(files, dict) else {}
    known = [each for each in files.get(path.name, []) if isinstance(each, str)]
    present = _digest(path) if path.is_file() else ""
    if [*([present] if present in known else []), digest] != known:
        # the present content stays in the list: killed before the new file is in its place, both are known
        files[path.name] = list(dict.fromkeys([*([present] if present in known else []), digest]))
        # where the mark can't be written, in a folder that others share, every file that is there is moved aside
        with suppress(CaptioningError):
            _write_mark(path.parent, {**mark, "files": dict(sorted(files.items()))})
    if os.path.lexists(path) and present not in known:
        aside = move_aside(path)
        log.warning("%s: not written by this program, or changed since: kept as %s", path, aside.name)


def _read_mark(folder: Path) -> dict[str, Any]:
    """What a folder's mark says; nothing where there is none, or one that this program has not written."""
    try:
        mark = json.loads((folder / MARK).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return mark if isinstance(mark, dict) and mark.get("program") == PROGRAM else {}


def _write_mark(folder: Path, mark: dict[str, Any]) -> None:
    """Write a folder's mark, unless a file of that name is somebody else's."""
    _refuse_foreign_mark(folder)
    write_json(folder / MARK, {"program": PROGRAM, **mark})


def _refuse_foreign_mark(folder: Path) -> None:
    if os.path.lexists(folder / MARK) and not _read_mark(folder):
        raise CaptioningError(f"{folder / MARK}: this file is not one of this program. Move it away.")


@contextmanager
def _one_at_a_time(folder: Path) -> Iterator[None]:
    """Let one process at a time look at a folder's marks and change them; without effect where there are no locks."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
