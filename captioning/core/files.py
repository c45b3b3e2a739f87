"""Writing files so that a reader never meets half of one."""

import errno
import fcntl
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any
from uuid import uuid4

from captioning.core.errors import CaptioningError

UNFINISHED = re.compile(r"\..+\.captioning-[0-9a-f]{8}")  # the names of files that are being written
OF_WRITING = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)  # what writing to an open file raises


@contextmanager
def atomic_write(path: str | os.PathLike[str], mode: str = "w") -> Iterator[IO[Any]]:
    """Open a temporary neighbour of ``path`` and put it in its place once it is written in full.

    The file's bytes reach the disk (``fsync``) before its name does, so that neither an exception, nor ``kill -9``,
    nor a full disk leaves half a file under the name that a later run would trust. The writer holds a lock on the
    neighbour, so that the next writer of ``path`` knows, and removes, what a killed one has left.

    Args:
        path: the file to write; missing folders are made.
        mode: ``"w"`` for UTF-8 text, ``"wb"`` for bytes.

    Raises:
        CaptioningError: the disk is full or the folder can't be written to.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        remove_unfinished(path.parent, path.name)
        temporary, file = _open_beside(path, mode)
    except OSError as error:
        raise write_error(path, error) from error
    try:
        with file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and (error.errno in OF_WRITING or str(error.filename) == str(temporary)):
            raise write_error(path, error) from error
        raise  # what else failed while the file was open, such as reading another


def _open_beside(path: Path, mode: str) -> tuple[Path, IO[Any]]:
    """Open and lock a new neighbour of a file; one that another writer took for left over is made again."""
    while True:
        temporary = path.with_name(f".{path.name}.captioning-{uuid4().hex[:8]}")
        file = temporary.open(mode.replace("w", "x"), encoding=None if "b" in mode else "utf-8")
        locked = _flock(file.fileno())
        if not locked or os.fstat(file.fileno()).st_nlink:  # where there are no locks, nobody removes it either
            return temporary, file
        file.close()


def remove_unfinished(folder: Path, name: str | None = None) -> None:
    """Remove what killed writers have left half-written in a folder; what is still being written stays.

    Args:
        folder: that they wrote to; one that is not there holds nothing.
        name: of the file that they were writing; any where not given.
    """
    try:
        left = [entry.name for entry in os.scandir(folder) if UNFINISHED.fullmatch(entry.name)]
    except FileNotFoundError:
        return
    for each in left:
        if name is None or each[: -len(".captioning-12345678")] == f".{name}":
            with suppress(FileNotFoundError), (folder / each).open("rb") as file:
                if _flock(file.fileno()):
                    (folder / each).unlink()


def _flock(descriptor: int) -> bool:
    """Lock an open file; False where somebody else has, or where the file system knows no locks."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def write_json(path: str | os.PathLike[str], value: Any) -> None:
    """Write ``value`` as JSON, whole or not at all."""
    with atomic_write(path) as file:
        json.dump(value, file, ensure_ascii=False, indent=1)
        file.write("\n")


def read_json(path: str | os.PathLike[str], what: str = "JSON file") -> Any:
    """Read a JSON file.

    Args:
        path: the file.
        what: what the file is to the user, for the error's sentence ("annotations", "results file").

    Raises:
        CaptioningError: the file is missing, can't be read, or is not JSON (with the line where it breaks).
    """
    path = Path(path)
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CaptioningError(f"{path}: there is no such {what}. Check the path.") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        where = f"line {error.lineno}: {error.msg}" if isinstance(error, json.JSONDecodeError) else str(error)
        raise CaptioningError(
            f"{path}: this {what} is not valid JSON ({where}). It may be cut short: fetch or write it again."
        ) from error
    except OSError as error:
        raise CaptioningError(
            f"{path}: this {what} can't be read ({error.strerror}). Check the path and its permissions."
        ) from error


def write_error(path: Path, error: OSError) -> CaptioningError:
    """The sentence for a write that failed: which file, why, and what to do."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return CaptioningError(
            f"{path}: the disk is full; nothing half-written was left. Free some space and run again."
        )
    return CaptioningError(
        f"{path}: can't be written ({error.strerror or error}). Check the folder and its permissions."
    )
