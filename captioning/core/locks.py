"""Locks that let one process at a time work in a folder."""

import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from captioning.core.errors import CaptioningError
from captioning.core.files import write_error
from captioning.core.system import READ_WRITE, lock_open_file, read_beginning, write_all

log = logging.getLogger(__name__)

_SIGN = b"captioning: "  # the beginning of a lock file, before the process that holds the lock
_held: set[Path] = set()  # locks of this process: POSIX does not exclude a process by its own locks


class HeldError(CaptioningError):
    """Another process holds the lock."""


@contextmanager
def lock(path: Path, wait: bool = False) -> Iterator[None]:
    """Hold a lock file for as long as the block runs.

    The lock belongs to the process (POSIX ``lockf``) and ends with the process, however the process ends. Worker
    processes, which may outlive a killed process for some seconds, do not inherit the lock.

    Args:
        path: the lock file; the file stays, with the number of the last process that held the lock.
        wait: whether to wait for a process that holds the lock, instead of raising an error.

    Raises:
        HeldError: another process holds the lock and ``wait`` is not set, or another block of this process holds the
            lock.
        CaptioningError: the file can't be written.
    """
    path = path.absolute()
    if path in _held:
        raise HeldError(f"{path.parent}: this process is at work in this folder already.")
    descriptor, made = _open(path)
    try:
        try:
            lock_open_file(descriptor, of_process=True)
        except (BlockingIOError, PermissionError):
            if not wait:
                raise HeldError(f"{path.parent}: in use by {_holder(descriptor)}.") from None
            log.info("%s: %s is at work here; waiting for it.", path.parent, _holder(descriptor))
            lock_open_file(descriptor, wait=True, of_process=True)
        except OSError as error:
            raise CaptioningError(
                f"{path}: this file system has no locks ({error.strerror}), without which two processes could spoil "
                "each other's work. Choose a folder on another one."
            ) from error
        if made or read_beginning(descriptor, len(_SIGN)) == _SIGN:
            write_all(descriptor, _SIGN + f"process {os.getpid()} of {socket.gethostname()}\n".encode())
        _held.add(path)
        yield
    finally:
        _held.discard(path)
        os.close(descriptor)


def _open(path: Path) -> tuple[int, bool]:
    """A lock file, and whether this call made the file: an existing file may be the user's own."""
    try:
        with suppress(FileExistsError):
            return os.open(path, READ_WRITE | os.O_CREAT | os.O_EXCL, 0o666), True
        return os.open(path, READ_WRITE), False
    except OSError as error:
        raise write_error(path, error) from error


def _holder(descriptor: int) -> str:
    """The process that holds a lock, according to the lock file."""
    said = read_beginning(descriptor, 200)
    return said[len(_SIGN) :].decode(errors="replace").strip() if said.startswith(_SIGN) else "another process"
