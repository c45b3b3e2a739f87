"""Text files of other people: UTF-8 with or without a byte order mark, opened in one way everywhere."""

import codecs
import gzip
import io
import json
import os
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from captioning.core.errors import CaptioningError
from captioning.core.regular import require_regular

ENCODING = "utf-8-sig"  # UTF-8; a byte order mark, which programs of Windows write, is taken away
MARKS = {  # other encodings, by their byte order marks; the longer marks first
    codecs.BOM_UTF32_LE: "UTF-32",
    codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}
SAVE = "Save the file as UTF-8."  # the remedy for a file in another encoding
BLOCK = 1 << 20  # bytes
GZIP = b"\x1f\x8b"  # the first bytes of a compressed file
GIVEN = ("/dev/stdin", "/dev/fd/")  # `… | captioning score /dev/stdin`, `captioning score <(…)`
LONGEST_CAPTION = 10_000  # characters; a long paragraph has 2,000
RATIO = 100  # the most that a compressed text may grow; captions and word vectors grow fourfold
_LINE_END = re.compile(r"\r\n|\n|\r")
# An escaped half of a surrogate pair whose other half is not beside it; also after an escaped backslash
HALF = re.compile(r"\\u[dD][89abAB]..(?!\\u[dD][c-fC-F])|(?<!\\u[dD][89abAB]..)\\u[dD][c-fC-F]")


def read_text(path: str | os.PathLike[str], what: str = "file", encoding: str = ENCODING, remedy: str = SAVE) -> str:
    """The text of a file with unchanged line ends, without its byte order mark.

    Args:
        path: the file.
        what: the kind of file, for the error's message ("annotations", "results file").
        encoding: the text's encoding, see ``open_text``.
        remedy: the last sentence of the error's message where the file is in another encoding.

    Raises:
        CaptioningError: the file is missing, can't be read, is in another encoding, or has null characters.
    """
    with open_text(path, what, encoding, remedy) as file:
        text = file.read()
    if "\0" in text:
        line = text[: text.index("\0")].count("\n") + 1
        raise CaptioningError(
            f"{path}, line {line}: there are null characters, as in UTF-16 text or in a file that is no text. "
            "Save the file as UTF-8 text."
        )
    return text


def lines_of(text: str) -> list[str]:
    """The lines of a text, whichever system wrote it.

    ``str.splitlines`` would also break lines at characters that may stand in a caption, such as U+2028.
    """
    return _LINE_END.split(text)


def rows_of(text: str) -> list[str]:
    """The lines of a text that a line feed ends, as in files of which the same lines belong together.

    A carriage return ends a line only in a text without line feeds. Behind the last end there is no further line.
    """
    rows = text.split("\n" if "\n" in text else "\r")
    return rows[:-1] if rows[-1] == "" else rows


@contextmanager
def open_text(
    path: str | os.PathLike[str], what: str = "file", encoding: str = ENCODING, remedy: str = SAVE
) -> Iterator[TextIO]:
    """Open a text for reading, with unchanged line ends, behind its byte order mark; ``.gz`` is decompressed.

    Args:
        path: the file.
        what: the kind of file, for the error's message.
        encoding: the text's encoding, a name that Python knows, such as ``latin-1``.
        remedy: the last sentence of the error's message where the file is in another encoding.

    Raises:
        CaptioningError: the file is missing, can't be read, or, once it is read, is damaged or in another encoding;
            there is no such encoding.
    """
    try:
        encoding = ENCODING if codecs.lookup(encoding).name == "utf-8" else encoding
    except (LookupError, ValueError):
        raise CaptioningError(f"{encoding!r:.40}: there is no such encoding. Take utf-8 or latin-1.") from None
    try:
        if not os.fspath(path).startswith(GIVEN):
            require_regular(path, what)
        with _open_text(path, encoding) as file:
            yield file
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise CaptioningError(f"{path}: this is no whole file of gzip ({error}). Fetch it anew.") from None
    except FileNotFoundError:
        raise CaptioningError(f"{path}: there is no such {what}. Check the path.") from None
    except OSError as error:
        raise CaptioningError(
            f"{path}: this {what} can't be read ({error.strerror}). Check the path and its permissions."
        ) from error
    except UnicodeError as error:
        if encoding == ENCODING:
            raise not_utf8(path, remedy) from None
        raise CaptioningError(f"{path}: this {what} is no {encoding} text ({error}). {remedy}") from None


def _open_text(path: str | os.PathLike[str], encoding: str) -> TextIO:
    if _is_gzip(path):
        return io.TextIOWrapper(_Bounded(path), encoding=encoding, newline="")
    return Path(path).open(encoding=encoding, newline="")


class _Bounded(gzip.GzipFile):
    """A gzip file that ends in an error where it unpacks to many times its size: a few bytes can ask for any memory."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        super().__init__(path, "rb")
        self.path, self.most = path, RATIO * Path(path).stat().st_size

    def read(self, size: int | None = -1) -> bytes:
        everything = size is None or size < 0
        return self._within(super().read(self.most + 1 - self.tell() if everything else size))

    def read1(self, size: int = -1) -> bytes:
        return self._within(super().read1(size))

    def _within(self, content: bytes) -> bytes:
        if self.tell() > self.most:
            raise CaptioningError(f"{self.path}: it unpacks to over {RATIO} times its size, as no text does. Check it.")
        return content


def _is_gzip(path: str | os.PathLike[str]) -> bool:
    return os.fspath(path).endswith(".gz")


def not_utf8(path: str | os.PathLike[str], remedy: str = SAVE) -> CaptioningError:
    """The error for a file that is not UTF-8, with the line where the file breaks and its likely encoding."""
    if not Path(path).is_file():  # a pipe can't be read twice
        return CaptioningError(f"{path}: this is not UTF-8 text. Write it as UTF-8.")
    decoder, line = codecs.getincrementaldecoder(ENCODING)(), 1
    with gzip.open(path) if _is_gzip(path) else Path(path).open("rb") as file:
        first = file.read(4)
        encoding = next((name for mark, name in MARKS.items() if first.startswith(mark)), None)
        if encoding:
            return CaptioningError(f"{path}: this is {encoding} text, and UTF-8 is read. Save the file as UTF-8.")
        if first[:2] == GZIP:
            return CaptioningError(f"{path}: this is compressed by gzip. Unpack it, or name it {path}.gz.")
        block = first
        while block:
            try:
                line += decoder.decode(block).count("\n")
            except UnicodeDecodeError as error:
                line += error.object[: error.start].count(b"\n")
                if b"\0" in block:
                    return CaptioningError(f"{path}: this is no text file, but a binary one. Give one in UTF-8 text.")
                break
            block = file.read(BLOCK)
    return CaptioningError(
        f"{path}, line {line}: this is not UTF-8 text; it may be Latin-1, as older programs of Windows write it. "
        f"{remedy}"
    )


def parse_json(text: str, where: object, what: str = "JSON file", remedy: str = "Mend the line.") -> Any:
    """The value of a JSON text.

    Args:
        text: the text.
        where: the file, with the line if the text is one line of a file.
        what: the kind of text, for the error's message; empty for a line of a file.
        remedy: the last sentence of the error's message where the text is no JSON.

    Raises:
        CaptioningError: the text is not JSON, is nested too deeply, or has a number of too many digits or half a
            surrogate pair, which no file can hold.
    """
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}: " if "\n" in text.strip() else ""
        named = f"this {what} is not valid JSON" if what else "this is not JSON"
        if error.msg == "Extra data" and what:
            remedy = "Behind its value there is more: JSON lines are read from a file whose name ends in .jsonl."
        raise CaptioningError(f"{where}: {named} ({place}{error.msg}). {remedy}") from error
    except RecursionError:
        raise CaptioningError(f"{where}: lists or objects are nested too deeply. Is it captions' JSON?") from None
    except ValueError:  # an integer beyond Python's limit
        raise CaptioningError(f"{where}: a number has thousands of digits. Correct it.") from None
    if HALF.search(text):
        for found in _strings(value):
            if any("\ud800" <= character <= "\udfff" for character in found):
                raise CaptioningError(
                    f"{where}: the text {found!r:.80} has half of a surrogate pair, which is no character. Correct it."
                )
    return value


def fault_of(caption: str) -> str | None:
    """What is wrong with a caption, its length or half of a surrogate pair; None for nothing."""
    if len(caption) > LONGEST_CAPTION:
        return f"has {len(caption):,} characters; up to {LONGEST_CAPTION:,} are a caption here"
    if not caption.isascii() and any("\ud800" <= character <= "\udfff" for character in caption):
        return f"has half of a surrogate pair, which is no character ({caption!a:.80})"
    return None


def _strings(value: Any) -> Iterator[str]:
    """All texts in a value of JSON, keys included."""
    waiting = [value]
    while waiting:
        each = waiting.pop()
        if isinstance(each, str):
            yield each
        elif isinstance(each, dict):
            waiting += [*each, *each.values()]
        elif isinstance(each, list):
            waiting += each
