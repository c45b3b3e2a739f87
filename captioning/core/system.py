"""What operating systems have in different ways: locks of open files, processors, options of opening.

Linux and macOS lock with ``fcntl``, Windows with ``msvcrt``. Where Python has neither, nothing is locked.
"""

import importlib
import os
import time
from typing import Any

FAR = 1 << 40  # the byte that Windows locks: a locked byte can't be read by others, and no file here is as long
READ_ONLY = os.O_RDONLY | getattr(os, "O_CLOEXEC", 0)
READ_WRITE = os.O_RDWR | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)


def _module(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


_fcntl, _msvcrt = _module("fcntl"), _module("msvcrt")


def lock_open_file(descriptor: int, wait: bool = False, of_process: bool = False) -> None:
    """Lock an open file against others; the lock ends when the file is closed, however the process ends.

    Args:
        descriptor: the open file.
        wait: True to wait for another holder.
        of_process: True for a lock that forked processes do not inherit; Windows has no forked processes.

    Raises:
        BlockingIOError, PermissionError: another one holds the lock, and ``wait`` is not set.
        OSError: the file system has no locks.
    """
    if _fcntl is not None:
        lock = _fcntl.lockf if of_process else _fcntl.flock
        lock(descriptor, _fcntl.LOCK_EX | (0 if wait else _fcntl.LOCK_NB))
        return
    while _msvcrt is not None:
        place = os.lseek(descriptor, 0, os.SEEK_CUR)
        try:
            os.lseek(descriptor, FAR, os.SEEK_SET)
            _msvcrt.locking(descriptor, _msvcrt.LK_NBLCK, 1)
            return
        except PermissionError:
            if not wait:
                raise
            time.sleep(0.2)
        finally:
            os.lseek(descriptor, place, os.SEEK_SET)


def processors() -> int:
    """The number of processors that this process may use."""
    if hasattr(os, "process_cpu_count"):  # Python 3.13
        return os.process_cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def read_beginning(descriptor: int, size: int) -> bytes:
    """The first bytes of an open file."""
    os.lseek(descriptor, 0, os.SEEK_SET)
    return os.read(descriptor, size)


def write_all(descriptor: int, content: bytes) -> None:
    """Replace the content of an open file."""
    os.ftruncate(descriptor, 0)
    os.lseek(descriptor, 0, os.SEEK_SET)
    os.write(descriptor, content)
