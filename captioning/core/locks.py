"""One process at a time in a folder."""

import fcntl
import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from captioning.core.errors import CaptioningError
from captioning.core.files import write_error

log = logging.getLogger(__name__)

_SIGN = b"captioning: "  # what a lock file begins with, before the process that holds it
_held: set[Path] = set()  # by this process, whose own locks do not exclude it


class HeldError(CaptioningError):
    """Another process holds the lock."""


@contextmanager
def lock(path: Path, wait: bool = False) -> Iterator[None]:
    """Hold a lock file for as long as the block runs.

    The lock is the process's (POSIX ``lockf``): it ends with the process however that ends, and worker processes,
    which may outlive a killed one for some seconds, do not inherit it.

    Args:
        path: the lock file; it stays, with the number of the process that held it last.
        wait: wait for a process that holds it, instead of giving up.

    Raises:
        HeldError: another process, or another block of this one, holds it and is not waited for.
        CaptioningError: the file can't be written.
    """
    path = path.absolute()
    if path in _held:
        raise HeldError(f"{path.parent}: this process is at work in this folder already.")
    descriptor, made = _open(path)
    try:
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            if not wait:
                raise HeldError(f"{path.parent}: in use by {_holder(descriptor)}.") from None
            log.info("%s: %s is at work here; waiting for it.", path.parent, _holder(descriptor))
            fcntl.lockf(descriptor, fcntl.LOCK_EX)
        except OSError as error:
            raise CaptioningError(
                f"{path}: this file system has no locks ({error.strerror}), without which two processes could spoil "
                "each other's work. Choose a folder on another one."
            ) from error
        if made or os.pread(descriptor, len(_SIGN), 0) == _SIGN:
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, _SIGN + f"process {os.getpid()} of {socket.gethostname()}\n".encode(), 0)
        _held.add(path)
        yield
    finally:
        _held.discard(path)
        os.close(descriptor)


def _open(path: Path) -> tuple[int, bool]:
    """A lock file, and whether it was made here: one that was there may be somebody's own."""
    options = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        with suppress(FileExistsError):
            return os.open(path, options | os.O_CREAT | os.O_EXCL, 0o666), True
        return os.open(path, options), False
    except OSError as error:
        raise write_error(path, error) from error


def _holder(descriptor: int) -> str:
    """Who holds a lock, as its file says."""
    said = os.pread(descriptor, 200, 0)
    return said[len(_SIGN) :].decode(errors="replace").strip() if said.startswith(_SIGN) else "another process"
