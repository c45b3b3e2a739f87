"""Whole numbers as options of a command line, with limits: beyond them a mistyped number takes all time or memory."""

from argparse import ArgumentTypeError
from collections.abc import Callable

from captioning.runs.ranges import LIMITS

MOST = 2**31 - 1  # of what needs no limit of its own
SEEDS = 2**32 - 1
BEAMS, LENGTH = LIMITS["size"], LIMITS["max_length"]  # as in training
RESAMPLES = 1_000_000


def whole(most: int = MOST, least: int | None = None) -> Callable[[str], int]:
    """The type of an option of ``argparse``.

    Args:
        most: the greatest number.
        least: the least number; None where the command itself says what is too small.

    Returns:
        A function from the option's text to the number; ``argparse`` reports its error and the option's name.
    """

    def number(text: str) -> int:
        try:
            found = int(text)
        except ValueError:  # no number, or one of thousands of digits
            shown = text if len(text) <= 40 else f"{text[:40]}…"
            raise ArgumentTypeError(f"{shown!r} is no whole number up to {most}") from None
        if found > most or (least is not None and found < least):
            raise ArgumentTypeError(f"take a whole number {'up' if least is None else f'from {least}'} to {most}")
        return found

    return number
