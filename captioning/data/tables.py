"""Reading of text, CSV and JSON lines; error messages name the line."""

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from captioning.core.errors import CaptioningError
from captioning.core.texts import parse_json, read_text


def read_csv(path: Path, columns: tuple[str, ...]) -> Iterator[tuple[int, dict[str, Any]]]:
    """The rows of a CSV file with a header, each with its line number.

    Args:
        path: the CSV file.
        columns: the required columns.

    Raises:
        CaptioningError: a column is missing from the header, or a field from a row.
    """
    rows = csv.DictReader(io.StringIO(read_text(path), newline=""), strict=True)
    try:
        if not set(columns) <= set(rows.fieldnames or ()):
            raise CaptioningError(
                f"{path}, line 1: the header must name the columns {', '.join(columns)}; it is {rows.fieldnames}."
            )
        for row in rows:
            if None in row or any(row[column] is None for column in columns):
                raise CaptioningError(
                    f"{path}, line {rows.line_num}: {len(rows.fieldnames or ())} fields are expected. "
                    "A caption with a comma in it stands in double quotes."
                )
            yield rows.line_num, dict(row)
    except csv.Error as error:
        raise CaptioningError(
            f"{path}, line {rows.reader.line_num}: this is not CSV ({error}). Mend the line."
        ) from None


def read_jsonl(path: Path, columns: tuple[str, ...]) -> Iterator[tuple[int, dict[str, Any]]]:
    """The objects of a file with one JSON object per line, each with its line number.

    Args:
        path: the file.
        columns: the required keys of each object.

    Raises:
        CaptioningError: a line is not a JSON object, or lacks a key.
    """
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        if not line.strip():
            continue
        row = parse_json(line, f"{path}, line {number}", "")
        if not isinstance(row, dict) or not all(isinstance(row.get(column), str) for column in columns):
            raise CaptioningError(f"{path}, line {number}: expected an object with the texts {', '.join(columns)}.")
        yield number, row
