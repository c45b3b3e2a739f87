"""Large JSON files read piece by piece: a list of captions takes the memory of one piece, not of the whole file.

Only what is whole and as expected is read in this way. Anything else ends in ``NotStreamed``, upon which a caller reads
the file whole: ``parse_json`` then has the sentence about it.
"""

import json
from collections.abc import Collection, Iterator
from typing import Any, TextIO

from captioning.core.errors import CaptioningError
from captioning.core.texts import HALF, parse_json

_PIECE = 1 << 20  # characters that are parsed at once
_BLANK = " \t\n\r"
_AFTER = (*_BLANK, ",", ":", "]", "}")  # what may follow a value
_decoder = json.JSONDecoder()


class NotStreamed(Exception):  # noqa: N818  # no error of a user
    """The text is not valid JSON of the expected form, or it must be seen whole to tell."""


def stream_lines(file: TextIO) -> Iterator[Any]:
    """The values of JSON lines.

    Raises:
        NotStreamed: a line is no JSON.
    """
    for line in file:
        if line.strip():
            try:
                yield parse_json(line, "")
            except CaptioningError:
                raise NotStreamed from None


def stream_list(file: TextIO) -> Iterator[Any]:
    """The entries of a JSON list.

    Raises:
        NotStreamed: the text is no JSON list.
    """
    text = _Text(file)
    text.expect("[")
    yield from text.entries()
    text.expect("")


def stream_members(file: TextIO, lists: Collection[str]) -> Iterator[tuple[str, Any]]:
    """The entries of some lists in a JSON object, each with the name of its list; other members are skipped.

    Args:
        file: the text.
        lists: the names of the lists.

    Raises:
        NotStreamed: the text is no JSON object, or one of ``lists`` is no list or is there twice.
    """
    text = _Text(file)
    seen: set[str] = set()
    text.expect("{")
    if text.next() == "}":
        raise NotStreamed
    while True:
        name = text.value()
        text.expect(":")
        if not isinstance(name, str) or name in seen:
            raise NotStreamed
        if name in lists:
            seen.add(name)
            text.expect("[")
            for entry in text.entries():
                yield name, entry
        else:
            text.value()
        if text.next() == "}":
            break
        text.expect(",")
    text.expect("}")
    text.expect("")


class _Text:
    """The part of a text that has been read and not yet parsed."""

    def __init__(self, file: TextIO) -> None:
        self._file, self._ahead, self._ended = file, "", False

    def next(self) -> str:
        """The next character that is no blank; empty at the end of the text."""
        while not (rest := self._ahead.lstrip(_BLANK)) and not self._ended:
            self._ahead = ""
            self._read()
        self._ahead = rest
        return rest[:1]

    def expect(self, character: str) -> None:
        """Pass over a character, or check that the text ends."""
        if self.next() != character:
            raise NotStreamed
        self._ahead = self._ahead[len(character) :]

    def value(self) -> Any:
        """Pass over a value."""
        self.next()
        while True:
            try:
                value, end = _decoder.raw_decode(self._ahead)
            except (ValueError, RecursionError):
                end = len(self._ahead)
            if self._ahead[end : end + 1] in _AFTER:  # a number could go on at the end of the piece
                self._ahead = self._ahead[end:]
                return value
            self._read()

    def entries(self) -> Iterator[Any]:
        """Pass over the entries of a list behind its bracket, and over the closing bracket."""
        while True:
            # All entries up to the last comma that follows an object: a comma inside of an entry leaves it unfinished.
            cut = self._ahead.rfind("},") + 1
            entries = _list_of(self._ahead[:cut]) if cut else None
            if entries is None:
                entries, end = _rest_of(self._ahead)
                if entries is not None:
                    yield from entries
                    self._ahead = self._ahead[end:]
                    return
                self._read()
            else:
                yield from entries
                self._ahead = self._ahead[cut + 1 :]
                del entries
                if self.next() in ("]", ""):
                    raise NotStreamed  # a comma before the end
                if len(self._ahead) < _PIECE and not self._ended:
                    self._read()

    def _read(self) -> None:
        """Read a piece, at least as much as there is: what can't be parsed yet is parsed a few times, not often."""
        if self._ended:
            raise NotStreamed
        more = self._file.read(max(_PIECE, len(self._ahead)))
        self._ended = not more
        if "\0" in more:
            raise NotStreamed
        self._ahead += more


def _list_of(text: str) -> list[Any] | None:
    try:
        return _checked(json.loads(f"[{text}]"), text)
    except (ValueError, RecursionError):
        return None


def _rest_of(text: str) -> tuple[list[Any] | None, int]:
    """The entries of a list up to its closing bracket, and the place behind the bracket; None if it is not there."""
    try:
        entries, end = _decoder.raw_decode(f"[{text}")
    except (ValueError, RecursionError):
        return None, 0
    return _checked(entries, text[: end - 1]), end - 1


def _checked(entries: list[Any], text: str) -> list[Any]:
    if HALF.search(text):
        raise NotStreamed
    return entries
