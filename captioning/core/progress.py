"""Progress bars: on the terminal only, and only for work that takes over two seconds."""

from collections.abc import Iterable
from typing import Any, TypeVar

from tqdm import tqdm

T = TypeVar("T")


def progress(items: Iterable[T], description: str, total: int | None = None, **options: Any) -> "tqdm[T]":
    """Iterate over ``items`` with a bar on stderr that appears after two seconds.

    Args:
        items: the items, which may come from a generator when ``total`` is given.
        description: the work in a few words ("reading photographs").
        total: the number of items, if ``len(items)`` is unknown.
        options: further options of ``tqdm`` (``unit``, ``unit_scale``, ``initial``).
    """
    options = {"delay": 2.0, "dynamic_ncols": True, "leave": False, "disable": None} | options  # None: not a terminal
    return tqdm(items, desc=description, total=total, **options)
