"""Reading of CSV and JSON lines as people and programs write them; error messages name the line."""

import csv
import io
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from captioning.core.errors import CaptioningError
from captioning.core.ids import heading
from captioning.core.texts import lines_of, parse_json, read_text

log = logging.getLogger(__name__)

NAMES = {  # other names of columns, in lower case
    **dict.fromkeys(("image_name", "image name", "filename", "file_name", "file", "image_path", "path"), "image"),
    **dict.fromkeys(("clip", "video", "video_path"), "image"),
    **dict.fromkeys(("comment", "sentence", "description"), "caption"),
    **dict.fromkeys(("set", "subset", "partition"), "split"),
}
DELIMITERS = (",", ";", "\t", "|")
USED = ("image", "caption", "split", "question", "answer", "kind")
ROW_WITHIN = re.compile(r"\n[^\n]{1,200}?\.(jpe?g|png|gif|bmp|webp|tiff?)\"?[,;\t|]", re.IGNORECASE)

Rows = Iterator[tuple[int, dict[str, Any]]]


def read_csv(path: Path, columns: tuple[str, ...]) -> Rows:
    """The rows of a table with a header, each with the number of its first line.

    The columns are separated by commas, semicolons, tabs or bars (``|``, as in Kaggle's Flickr30k), whichever makes the
    header name the required columns. Names of columns are compared without case and without blanks around them, and
    some have other names (``NAMES``). Rows of empty fields are left out.

    Args:
        path: the file.
        columns: the required columns, by this package's names.

    Raises:
        CaptioningError: a column is missing from the header, a field from a row, or a quote is not closed.
    """
    text = read_text(path)
    first = re.split(r"[\r\n]", text.lstrip("\r\n"), maxsplit=1)[0] if text.strip() else ""
    names: list[str] = []
    delimiter = ","
    for delimiter in DELIMITERS:
        names = _names(next(csv.reader([first], delimiter=delimiter), []))
        if set(columns) <= set(names):
            break
    else:
        raise CaptioningError(
            f"{path}, line 1: the header must name the columns {', '.join(columns)}; "
            + (f"it is {first!r:.200}." if first else "the file is empty.")
        )
    _check_names(path, names)
    start = text.index(first)
    offset = text[:start].count("\n")
    mended = 0
    for line, row in _records(path, text[start:], delimiter, offset):
        if line == offset + 1 or not any(field.strip() for field in row):
            continue
        if delimiter == "|":  # quotes mean nothing there, and blanks stand around the bars
            row, was_cut = _without_bar([field.strip() for field in row], names)
            mended += was_cut
        if len(row) != len(names):
            raise CaptioningError(
                f"{path}, line {line}: {len(names)} fields are expected. "
                "A caption with a comma in it stands in double quotes."
            )
        if _has_rows(row, names, delimiter):
            raise CaptioningError(_unclosed(path, line, line + sum(field.count("\n") for field in row)))
        yield line, dict(zip(names, row, strict=True))
    if mended:
        log.warning("%s: %d rows lack a |, and were read as if it were there.", path, mended)


def read_jsonl(path: Path, columns: tuple[str, ...]) -> Rows:
    """The objects of a file with one JSON object per line, each with its line number; names as in ``read_csv``.

    Args:
        path: the file.
        columns: the required keys of each object.

    Raises:
        CaptioningError: a line is not a JSON object, or lacks a key.
    """
    known: set[str] = set()
    for number, line in enumerate(lines_of(read_text(path)), start=1):
        if not line.strip():
            continue
        row = parse_json(line, f"{path}, line {number}", "")
        if isinstance(row, dict):
            names = _names(list(row))
            if not known >= set(names):
                known |= set(names)
                _check_names(path, names)
            row = dict(zip(names, row.values(), strict=True))
        if not isinstance(row, dict) or not all(isinstance(row.get(column), str) for column in columns):
            raise CaptioningError(f"{path}, line {number}: expected an object with the texts {', '.join(columns)}.")
        yield number, row


def _records(path: Path, text: str, delimiter: str, offset: int) -> Iterator[tuple[int, list[str]]]:
    """The records of a table with their first lines, counted from ``offset + 1``."""
    quoting: Literal[0, 3] = csv.QUOTE_NONE if delimiter == "|" else csv.QUOTE_MINIMAL
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True, quoting=quoting)
    while True:
        line = reader.line_num + offset + 1
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            last = reader.line_num + offset
            what = f"this is not CSV ({error})"
            if "field limit" in str(error):
                raise CaptioningError(
                    f"{path}, line {line}: a field has over {csv.field_size_limit():,} characters, as no caption has. "
                    "Correct it, or close its quote."
                ) from None
            if last > line or "end of data" in str(error):
                what = f"a quote that begins here is not closed as CSV has it (line {last}: {error})"
            raise CaptioningError(
                f"{path}, line {line}: {what}. "
                'Mend the line: a field with quotes stands in quotes, and each quote in it is doubled ("").'
            ) from None
        if any("\n" in field and ROW_WITHIN.search(field) for field in row):
            raise CaptioningError(_unclosed(path, line, reader.line_num + offset))
        yield line, row


def _unclosed(path: Path, line: int, last: int) -> str:
    return (
        f"{path}, line {line}: a quote that begins here goes on over further rows, up to line {last}. "
        "Close it, or double it."
    )


def _has_rows(row: Sequence[str], names: Sequence[str], delimiter: str) -> bool:
    """True if a field goes on over rows of which the images are named like the row's own."""
    if "image" not in names or not any("\n" in field for field in row):
        return False
    place = names.index("image")
    kind = _kind_of_name(row[place])
    found = []
    for at, field in enumerate(row):
        first, *further = (line.split(delimiter) for line in field.split("\n"))
        found += [fields[place] for fields in further if len(fields) > place]
        whole = [first, *further][:-1] if at < place else further[:-1]  # the last line ends within the field
        found += [fields[place - len(names)] for fields in whole if len(fields) >= len(names) - place]
    return kind is not None and kind in map(_kind_of_name, found)


def _kind_of_name(image: str) -> tuple[str, str] | None:
    """What images' names have in common: the signs between words, and the ending; None for a mere word."""
    name = image.strip(' "')
    return (re.sub(r"[^\W_]+", "a", name), Path(name).suffix.lower()) if re.search(r"[\d.]", name) else None


def _names(header: Sequence[str]) -> list[str]:
    """This package's names of the columns of a header."""
    plain = [heading(name) for name in header]
    return [name if NAMES.get(name, name) in plain else NAMES.get(name, name) for name in plain]


def _check_names(path: Path, names: Sequence[str]) -> None:
    twice = sorted({name for name in names if names.count(name) > 1 and name in USED})
    if twice:
        raise CaptioningError(f"{path}: several columns are the {', '.join(twice)}. Rename all but one.")
    ignored = [repr(name) for name in names if name not in USED]
    if ignored:
        log.info("%s: not used of it: the columns %s.", path, ", ".join(ignored))


def _without_bar(row: list[str], names: Sequence[str]) -> tuple[list[str], bool]:
    """A row of Kaggle's Flickr30k, in one of which the bar between number and caption is missing."""
    if len(row) == len(names) - 1 and names[-1] == "caption":
        number, _, caption = row[-1].partition(" ")
        if number.isdecimal() and caption.strip():
            return [*row[:-1], number, caption.strip()], True
    return row, False


def split_name(value: Any, names: Mapping[str, str]) -> str | None:
    """The split that a table's value names, without case and blanks; None if it names none."""
    return names.get(heading(value))
