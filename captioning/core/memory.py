"""Memory of the CPU: used again instead of fetched anew, and not searched where nothing can be free."""

import ctypes
import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_TRIM_THRESHOLD, _MMAP_MAX = -1, -4  # of malloc.h
_ALWAYS_KEEP = 2**31 - 1


def keep_memory() -> bool:
    """Let freed memory stay with this process until it ends.

    glibc gives a large tensor's memory back to the system when it is freed, and every page of the next one is fetched
    and zeroed again: up to a fifth of a training step on a CPU. The price: the process stays as large as it ever was.

    Returns:
        Whether the C library is glibc, which can be told so; any other is left as it is.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    return bool(mallopt(_MMAP_MAX, 0) and mallopt(_TRIM_THRESHOLD, _ALWAYS_KEEP))


@contextmanager
def no_collection() -> Iterator[None]:
    """Import and load without Python's search for unreachable objects: what is imported stays.

    The search goes through all objects again and again while their number grows: a sixth of ``import torch,
    torchvision`` (0.4 of 2.5 s).
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
