"""Progress of long work: a bar on a terminal, and a line now and then in a file or a pipe."""

import sys
from collections.abc import Iterable
from typing import Any, TypeVar

from tqdm import tqdm

T = TypeVar("T")

SECONDS = 30.0  # between two lines of a file


class Lines(tqdm):  # type: ignore[misc]
    """Progress as lines without control characters, for a file or a pipe: what, how much, how long still, what rate."""

    @staticmethod
    def status_printer(file: Any) -> Any:
        """A function that writes a line."""

        def write(line: str) -> None:
            if line.strip():
                file.write(f"{line.rstrip()}\n")
                file.flush()

        return write

    def close(self) -> None:
        """End without a last line of its own: the work says itself what it has done."""
        self.leave = False
        self.disable = True
        self._instances.discard(self)


def progress(items: Iterable[T], description: str, total: int | None = None, **options: Any) -> "tqdm[T]":
    """Iterate over ``items``, and show on stderr what is being done, how much is left and at what rate.

    On a terminal this is a bar that appears after two seconds; elsewhere it is a line every half a minute, so that a
    log stays short and readable.

    Args:
        items: the items, which may come from a generator when ``total`` is given.
        description: the work in a few words ("reading photographs").
        total: the number of items, if ``len(items)`` is unknown.
        options: further options of ``tqdm`` (``unit``, in the plural, ``unit_scale``, ``initial``).
    """
    if "unit" in options and not options.get("unit_scale"):
        options["unit"] = f" {options['unit']}"  # 5.20 photos/s
    if sys.stderr.isatty():
        bar: dict[str, Any] = {"delay": 2.0, "dynamic_ncols": True, "leave": False}
        if total is not None or hasattr(items, "__len__"):
            bar["bar_format"] = "{l_bar}{bar}| {n_fmt}/{total_fmt} [{elapsed}<{remaining}, {rate_noinv_fmt}]"
        return tqdm(items, desc=description, total=total, **bar | options)
    form = "{desc}: {percentage:.0f} %, {n_fmt} of {total_fmt}, {remaining} left, {rate_noinv_fmt}"
    settings: dict[str, Any] = {"delay": SECONDS, "mininterval": SECONDS, "maxinterval": SECONDS, "ascii": True}
    settings["miniters"] = 1  # else tqdm's monitor thread writes lines, too
    if total is not None or hasattr(items, "__len__"):
        settings["bar_format"] = form
    return Lines(items, desc=description, total=total, file=sys.stderr, **settings | options)
