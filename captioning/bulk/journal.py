"""A file of JSON lines that grows, and from which interrupted work goes on."""

import json
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from captioning.core.errors import CaptioningError
from captioning.core.files import write_error


class Journal:
    """Rows as lines of JSON; what is written stays, whatever ends the process.

    Attributes:
        path: the file.
        count: the number of rows.
        last: the last row; None without rows.
        problems: the number of rows with an ``error``.
    """

    def __init__(self, path: Path) -> None:
        """Open the file, which may be missing; a last line that a killed process left unfinished is cut off.

        Raises:
            CaptioningError: a line is damaged, or the file can't be written.
        """
        self.path, self.count, self.problems = path, 0, 0
        self.last: Mapping[str, Any] | None = None
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self.file: IO[bytes] = path.open("a+b")
            self._read()
        except OSError as error:
            raise write_error(path, error) from error

    def _read(self) -> None:
        self.file.seek(0)
        whole = 0
        for line in self.file:
            row = _parsed(line)
            if row is None:
                if self.file.read(1):
                    raise CaptioningError(
                        f"{self.path}, line {self.count + 1}: this line is damaged. Restore the file, or move it away "
                        "and begin anew."
                    )
                break
            whole += len(line)
            self.count, self.last = self.count + 1, row
            self.problems += "error" in row
        self.file.truncate(whole)
        self.file.seek(0, os.SEEK_END)

    def append(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Add rows, which are then safe from the end of this process.

        Raises:
            CaptioningError: the disk is full.
        """
        if not rows:
            return
        text = "".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows)
        try:
            self.file.write(text.encode(errors="backslashreplace"))
            self.file.flush()
        except OSError as error:
            raise write_error(self.path, error) from error
        self.count, self.last = self.count + len(rows), rows[-1]
        self.problems += sum("error" in row for row in rows)

    def __enter__(self) -> Self:
        """The journal itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the file; its bytes reach the disk."""
        with suppress(OSError):
            os.fsync(self.file.fileno())
        with suppress(OSError):  # a full disk has been reported by append
            self.file.close()


def _parsed(line: bytes) -> Mapping[str, Any] | None:
    """The row of a whole line; None for another line."""
    if not line.endswith(b"\n"):
        return None
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return row if isinstance(row, dict) and "image" in row else None
