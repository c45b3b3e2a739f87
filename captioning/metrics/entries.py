"""The entries of results files: a JSON list, JSON lines, or the archive that the COCO server takes."""

import io
import math
import os
import zipfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TextIO, TypeVar

from captioning.core.errors import CaptioningError
from captioning.core.json_stream import NotStreamed, stream_lines, stream_list
from captioning.core.regular import require_regular
from captioning.core.texts import ENCODING, RATIO, lines_of, open_text, parse_json, read_text

Value = TypeVar("Value")

_WHAT = "results file"
_CUT = "It may be cut short: fetch or write it again."
_LARGEST, _SMALL = 1 << 30, 1 << 24  # bytes of a results file in an archive


def gather_entries(path: str | os.PathLike[str], gather: Callable[[Iterable[Any]], Value]) -> Value:
    """What a function makes of the entries of a results file, of which a few are in memory at a time.

    Args:
        path: see ``read_entries``.
        gather: the function, which is called again, with all entries in memory, for a file that is not as expected.

    Raises:
        CaptioningError: see ``read_entries``.
    """
    if Path(path).is_file():  # a pipe can't be read twice
        with suppress(NotStreamed), _opened(path) as file:
            return gather(stream_lines(file) if _has_lines(path) else stream_list(file))
    return gather(read_entries(path))


@contextmanager
def _opened(path: str | os.PathLike[str]) -> Iterator[TextIO]:
    if not _is_archive(path):
        with open_text(path, _WHAT) as file:
            yield file
        return
    try:
        with zipfile.ZipFile(path) as archive, archive.open(_member(path, archive)) as content:
            yield io.TextIOWrapper(content, ENCODING, newline="")
    except (CaptioningError, NotStreamed):
        raise
    except Exception:  # zipfile raises anything
        raise NotStreamed from None


def _is_archive(path: str | os.PathLike[str]) -> bool:
    return os.fspath(path).lower().endswith(".zip")


def _has_lines(path: str | os.PathLike[str]) -> bool:
    return os.fspath(path).lower().endswith((".jsonl", ".jsonl.gz"))


def read_entries(path: str | os.PathLike[str]) -> list[Any]:
    """The entries of a results file.

    Args:
        path: a file with a JSON list; with JSON lines, an entry each, if its name ends in ``.jsonl``; or a ``.zip``
            archive with one such file in it, whose name ends in ``.json``.

    Raises:
        CaptioningError: the file is missing, damaged, or of another format.
    """
    text = _from_archive(path) if _is_archive(path) else read_text(path, _WHAT)
    if _has_lines(path):
        return [
            parse_json(line, f"{path}, line {number}", "line of a results file", _CUT)
            for number, line in enumerate(lines_of(text), start=1)
            if line.strip()
        ]
    entries = parse_json(text, path, _WHAT, _CUT)
    if not isinstance(entries, list):
        raise CaptioningError(f'{path}: a results file is a list of {{"image_id": …, "caption": …}}; this is not one.')
    return entries


def _from_archive(path: str | os.PathLike[str]) -> str:
    """The text of the one JSON file in an archive."""
    try:
        require_regular(path, _WHAT)
        with zipfile.ZipFile(path) as archive:
            return archive.read(_member(path, archive)).decode("utf-8-sig")
    except CaptioningError:
        raise
    except FileNotFoundError:
        raise CaptioningError(f"{path}: there is no such {_WHAT}. Check the path.") from None
    except UnicodeDecodeError:
        raise CaptioningError(f"{path}: the {_WHAT} in this archive is not UTF-8 text. Write it as UTF-8.") from None
    except Exception as error:  # zipfile raises anything
        raise CaptioningError(f"{path}: this archive can't be read ({error}). Fetch or write it again.") from error


def _member(path: str | os.PathLike[str], archive: zipfile.ZipFile) -> zipfile.ZipInfo:
    """The one JSON file in an archive."""
    inside = [
        each
        for each in archive.infolist()
        if each.filename.endswith(".json") and not each.filename.startswith("__MACOSX/")
    ]
    if len(inside) != 1:
        raise CaptioningError(
            f"{path}: there are {len(inside)} .json files in this archive, and one was looked for. Give the "
            "results file itself."
        )
    size = inside[0].file_size
    if size > _LARGEST or size > max(_SMALL, RATIO * Path(path).stat().st_size):
        raise CaptioningError(
            f"{path}: {inside[0].filename} would unpack to {size / 1e6:.0f} MB, too much for captions in an archive of "
            "this size. Give the file itself."
        )
    return inside[0]


def captions_of(entry: Any) -> list[Any] | None:
    """What an entry has for captions, as a list: of ``caption``, a text or a list of texts, or of ``captions``."""
    if not isinstance(entry, dict):
        return None
    found = entry.get("caption", entry.get("captions"))
    return found if isinstance(found, list) else [found]


def trouble(entry: Any, image: object) -> str | None:
    """What is wrong with an entry, as the end of the sentence "N entries …"; None for a good one.

    Args:
        entry: the entry.
        image: its image's id; None for none.
    """
    captions = captions_of(entry)
    if image is None or captions is None or not ({"caption", "captions"} & entry.keys()):
        return "have no image_id (a number or a string) or no caption (a string)"
    if any(each is None or (isinstance(each, float) and math.isnan(each)) for each in captions):
        return "have no caption but null or NaN, as of a table with empty cells"
    if not captions or not all(isinstance(each, str) for each in captions):
        return "have no image_id (a number or a string) or no caption (a string)"
    return None
