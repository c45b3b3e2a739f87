"""Memory of the process: keeping freed memory for reuse, and imports without garbage collection."""

import ctypes
import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

_TRIM_THRESHOLD, _MMAP_MAX = -1, -4  # from malloc.h
_ALWAYS_KEEP = 2**31 - 1


def keep_memory() -> bool:
    """Keep freed memory in this process until the process ends.

    glibc returns the memory of a freed large tensor to the system, which fetches and zeroes every page of the next
    tensor again: up to a fifth of a training step on a CPU. The price: the process never shrinks.

    Returns:
        True if the C library is glibc and has taken the setting; other libraries are left as they are.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    return bool(mallopt(_MMAP_MAX, 0) and mallopt(_TRIM_THRESHOLD, _ALWAYS_KEEP))


def largest() -> dict[str, int]:
    """The largest memory of this process so far in MB: ``memory_mb``, and ``gpu_memory_mb`` where a GPU was used.

    Windows does not tell the former.
    """
    found = {}
    if resource is not None:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        found["memory_mb"] = round(peak / (1e3 if sys.platform.startswith("linux") else 1e6))
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        found["gpu_memory_mb"] = round(torch.cuda.max_memory_allocated() / 1e6)
    return found


@contextmanager
def no_collection() -> Iterator[None]:
    """Switch off Python's garbage collector for imports and loading: imported objects stay anyway.

    The collector visits all objects again and again while their number grows: a sixth of ``import torch, torchvision``
    (0.4 of 2.5 s).
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
