"""Text of unknown origin on a terminal, and paths as a reader would type them."""

import logging
import os
import unicodedata
from pathlib import Path

_REORDERING = frozenset("\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def printable(text: str, keep: str = "") -> str:
    r"""The text without characters that act on a terminal or break a line or column.

    Args:
        text: a word of a vocabulary, the name of a file, an error's message.
        keep: control characters that stay, such as ``"\n\t"``.

    Returns:
        The text with control characters, line separators and marks that reverse the reading order as escapes
        (``\x1b``); file names that are not UTF-8 (lone surrogates) stay as they are.
    """
    if text.isprintable():
        return text
    return "".join(_escaped(each) if _acts(each) and each not in keep else each for each in text)


def nearby(path: str | os.PathLike[str]) -> Path:
    """The path relative to the working directory if it lies in there, else as it is."""
    try:
        return Path(path).absolute().relative_to(Path.cwd())
    except (ValueError, OSError):  # OSError: the working directory was deleted
        return Path(path)


class PrintableFormatter(logging.Formatter):
    """A formatter that escapes the characters that act on a terminal; line breaks stay."""

    def format(self, record: logging.LogRecord) -> str:
        """The message."""
        return printable(super().format(record), keep="\n\t")


def show_log(level: int = logging.INFO) -> None:
    """Write a command's log to stderr."""
    handler = logging.StreamHandler()
    handler.setFormatter(PrintableFormatter("%(message)s"))
    logging.basicConfig(level=level, handlers=[handler])


def _acts(character: str) -> bool:
    return unicodedata.category(character) in ("Cc", "Zl", "Zp") or character in _REORDERING


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode()
