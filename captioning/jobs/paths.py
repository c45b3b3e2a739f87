"""Settings that are paths: their values are taken as they stand, not as values of Hydra's language."""

import os
import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from captioning.core.errors import CaptioningError, UsageError

PATHS = frozenset({
    *("data.root", "data.file", "data.images", "data.text", "data.cache", "data.features_root"),
    *("word_vectors", "init_from", "out"),
})  # fmt: skip
NULL = frozenset({"word_vectors", "init_from"})  # for which null means none
PLAIN = re.compile(r"[A-Za-z0-9_./-]*")  # what Hydra reads as text, unless it is a number or one of WORDS
WORDS = frozenset({"null", "true", "false", "nan", "inf"})


def quoted_paths(lines: Sequence[str], sweep: bool = False) -> list[str]:
    """Overrides with the paths among their values in quotes, where Hydra would read something else or nothing.

    ``data.root=2019`` is the folder 2019 and no number; blanks, ``=``, brackets, ``~`` (the user's folder) and letters
    of any alphabet may be in a path. References (``${…}``), quoted text and lists stay; a path with a comma has to be
    quoted, since several values make a sweep.

    Args:
        lines: the overrides.
        sweep: True if a comma separates the values of a sweep.
    """
    return [_quoted(line, sweep) for line in lines]


def _quoted(line: str, sweep: bool) -> str:
    key, equals, value = line.partition("=")
    name = key.lstrip("+")
    if name not in PATHS or not value or value[0] in "'\"[{" or "${" in value or (value == "null" and name in NULL):
        return line
    if "," not in value:
        return f"{key}{equals}{_as_text(value)}"
    return f"{key}{equals}{','.join(map(_as_text, value.split(',')))}" if sweep and "(" not in value else line


def expanded(path: str) -> str:
    """A path whose ``~`` is the user's folder; shells leave ``~`` in quotes and in ``--option=~/path``."""
    if path == "~" or path.startswith(("~/", f"~{os.sep}")):
        with suppress(RuntimeError):  # there is no folder of the user
            return str(Path(path).expanduser())
    return path


def named_picture(name: str) -> str:
    """The path that a command line names for pictures, see ``expanded``.

    Raises:
        CaptioningError: the name is empty, or an address.
    """
    if not name.strip():
        raise UsageError("A picture's name is empty: is a variable of the shell not set?")
    if name.startswith(("http://", "https://")):
        raise CaptioningError(f"{name}: this is an address. Fetch the picture, and name the file.")
    return expanded(name)


def _as_text(path: str) -> str:
    path = expanded(path)
    if PLAIN.fullmatch(path) and path.lower() not in WORDS and not _is_number(path):
        return path
    escaped = re.sub(r'(\\*)"', r'\1\1\\"', path)
    escaped = re.sub(r"(\\+)$", r"\1\1", escaped)
    return f'"{escaped}"'


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
