"""Atomic writing of files: a reader never finds half a file."""

import errno
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any
from uuid import uuid4

from captioning.core.errors import CaptioningError
from captioning.core.system import lock_open_file
from captioning.core.texts import parse_json, read_text

UNFINISHED = re.compile(r"\..+\.captioning-[0-9a-f]{8}")  # the names of files that are being written
OF_WRITING = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)  # errors of writing to an open file


@contextmanager
def atomic_write(path: str | os.PathLike[str], mode: str = "w") -> Iterator[IO[Any]]:
    r"""Open a temporary file beside ``path``, and rename it to ``path`` once it is complete.

    The file's bytes reach the disk (``fsync``) before the renaming, so that neither an exception, nor ``kill -9``, nor
    a full disk leaves half a file under a name that a later run would trust. The writer holds a lock on the temporary
    file, so that the next writer of ``path`` recognises and removes the file of a killed writer.

    Args:
        path: the file to write; missing folders are made.
        mode: ``"w"`` for UTF-8 text, ``"wb"`` for bytes. Half of a surrogate pair, which UTF-8 lacks, is written as its
            escape (``\ud800``), in JSON as JSON's own: a character must not end a run when its results are written.

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
        raise  # another error while the file was open, such as one of reading a second file


def _open_beside(path: Path, mode: str) -> tuple[Path, IO[Any]]:
    """Open and lock a temporary file beside ``path``; open another if a second writer has removed it as left over."""
    while True:
        temporary = path.with_name(f".{path.name}.captioning-{uuid4().hex[:8]}")
        text = {} if "b" in mode else {"encoding": "utf-8", "errors": "backslashreplace"}
        file = temporary.open(mode.replace("w", "x"), **text)  # type: ignore[call-overload]
        locked = _flock(file.fileno())
        if not locked or os.fstat(file.fileno()).st_nlink:  # without locks no writer removes it
            return temporary, file
        file.close()


def remove_unfinished(folder: Path, name: str | None = None) -> None:
    """Remove the half-written files of killed writers from a folder; files that are still being written stay.

    Args:
        folder: the folder, which may be missing.
        name: the name of the file that they were writing; None for any file.
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
    """Lock an open file; False if another writer holds the lock, or if the file system has no locks."""
    try:
        lock_open_file(descriptor)
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
        what: the kind of file, for the error's message ("annotations", "results file").

    Raises:
        CaptioningError: the file is missing, can't be read, or is not JSON (with the line where it breaks), see
            ``captioning.core.texts.parse_json``.
    """
    text = read_text(path, what)
    return parse_json(text, path, what, "It may be cut short: fetch or write it again.")


def write_error(path: Path, error: OSError) -> CaptioningError:
    """The error of a failed write, with the file, the cause and the remedy."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return CaptioningError(
            f"{path}: the disk is full; nothing half-written was left. Free some space and run again."
        )
    return CaptioningError(
        f"{path}: can't be written ({error.strerror or error}). Check the folder and its permissions."
    )
