"""The entries of results files: a JSON list, JSON lines, or the archive that the COCO server takes."""

import math
import os
import zipfile
from pathlib import Path
from typing import Any

from captioning.core.errors import CaptioningError
from captioning.core.regular import require_regular
from captioning.core.texts import RATIO, lines_of, parse_json, read_text

_WHAT = "results file"
_CUT = "It may be cut short: fetch or write it again."
_LARGEST, _SMALL = 1 << 30, 1 << 24  # bytes of a results file in an archive


def read_entries(path: str | os.PathLike[str]) -> list[Any]:
    """The entries of a results file.

    Args:
        path: a file with a JSON list; with JSON lines, an entry each, if its name ends in ``.jsonl``; or a ``.zip``
            archive with one such file in it, whose name ends in ``.json``.

    Raises:
        CaptioningError: the file is missing, damaged, or of another format.
    """
    name = os.fspath(path).lower()
    text = _from_archive(path) if name.endswith(".zip") else read_text(path, _WHAT)
    if name.endswith((".jsonl", ".jsonl.gz")):
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
                    f"{path}: {inside[0].filename} would unpack to {size / 1e6:.0f} MB, too much for captions in an "
                    "archive of this size. Give the file itself."
                )
            return archive.read(inside[0]).decode("utf-8-sig")
    except CaptioningError:
        raise
    except FileNotFoundError:
        raise CaptioningError(f"{path}: there is no such {_WHAT}. Check the path.") from None
    except UnicodeDecodeError:
        raise CaptioningError(f"{path}: the {_WHAT} in this archive is not UTF-8 text. Write it as UTF-8.") from None
    except Exception as error:  # zipfile raises anything
        raise CaptioningError(f"{path}: this archive can't be read ({error}). Fetch or write it again.") from error


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
