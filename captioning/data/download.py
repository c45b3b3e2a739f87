"""Downloads of large files that continue where an interrupted download or unpacking stopped.

A note beside a file, ``.<name>.fetch``, marks a file that this program downloads; the note holds the address and the
identity of the downloaded file. This module neither removes nor changes a file or ``.part`` without such a note.
"""

import hashlib
import http.client
import json
import logging
import os
import re
import shutil
import time
import urllib.error
import urllib.request
import zipfile
import zlib
from collections.abc import Sequence
from contextlib import suppress
from io import FileIO
from pathlib import Path
from typing import Any

from captioning.core.errors import CaptioningError
from captioning.core.files import remove_unfinished, write_error, write_json
from captioning.core.ownership import MARK, PROGRAM, claim, is_ours
from captioning.core.progress import progress

log = logging.getLogger(__name__)

CHUNK = 1 << 20  # bytes
RATIO = 100  # the most that an archive may grow; photographs hardly do, captions in JSON tenfold
SMALL = 64 << 20  # bytes that any archive may have
TIMEOUT = 60.0  # seconds without an answer
UNPACKING = "unpacking"  # the purpose that marks the folder, see ``claim``


def fetch(
    url: str, path: Path, size: int | None = None, sha256: str | None = None, attempts: int = 5, pause: float = 2.0
) -> None:
    """Download a file; ``path`` exists only once the file is complete and checked.

    Received bytes are kept in ``<path>.part``, and a later call requests only the rest. The note stays beside the file,
    so that ``clear`` can tell a downloaded file from a user's own.

    Args:
        url: the file's address.
        path: the target path; an existing file is checked and used as it is.
        size: the length in bytes, if known.
        sha256: the checksum in hexadecimal, if known.
        attempts: the maximum number of consecutive connections without a new byte.
        pause: seconds before the second attempt; doubled with each further one.

    Raises:
        CaptioningError: the server has no such file or does not answer, the disk is full, the downloaded file is not
            the expected one (it is then deleted), or an existing file is not (it stays).
    """
    if os.path.lexists(path):
        _accept(path, size, sha256)
        return
    part = _part(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _begin(url, path, size, sha256)
        arrived = part.stat().st_size
    except OSError as error:
        raise write_error(part, error) from error
    if size is not None:
        require_space(path.parent, size - arrived, url)
    failures = 0
    while True:
        before = part.stat().st_size
        try:
            _fetch_rest(url, part, size)
            break
        except (OSError, http.client.HTTPException, ValueError) as error:
            arrived = part.stat().st_size
            failures = 1 if arrived > before else failures + 1
            if _is_final(error) or failures >= attempts:
                if not arrived:
                    _forget(path)
                kept = f": the {arrived} bytes that have arrived are kept in {part}" if arrived else ""
                raise CaptioningError(
                    f"{url}: can't be fetched ({error}). Check the address and the network, and run again{kept}."
                ) from error
            time.sleep(pause * 2 ** (failures - 1))
    if fault := _fault(part, size, sha256):
        _forget(path)
        raise CaptioningError(f"{url}: what came is not what was expected ({fault}) and was deleted. Run again.")
    _finish(path)


def unzip(archive: Path, root: Path, entries: Sequence[str]) -> None:
    """Unpack some files or folders of a zip; each appears in ``root`` only when complete.

    Entries are unpacked in ``root/.<archive>.part`` first, where a later call finds the work of an interrupted one.
    Every file's CRC is checked. An entry that exists in ``root`` stays as it is.

    Args:
        archive: the zip file.
        root: the target folder.
        entries: the paths of files or folders inside the zip.

    Raises:
        CaptioningError: the archive is damaged, lacks an entry or unpacks to many times its size; the disk is full; or
            the ``.part`` folder holds foreign files.
    """
    aside = _aside(archive, root)
    wanted = [entry for entry in entries if not os.path.lexists(root / entry)]
    try:
        if aside.is_dir():
            remove_unfinished(aside, MARK)
        claim(aside, UNPACKING, f"what is being unpacked of {archive.name}")
        with zipfile.ZipFile(archive) as zipped:
            members = [info for info in zipped.infolist() if _is_in(info.filename, wanted) and not info.is_dir()]
            unpacked = sum(info.file_size for info in members)
            if unpacked > max(RATIO * archive.stat().st_size, SMALL):
                raise CaptioningError(
                    f"{archive}: it would unpack to {unpacked / 1e6:.0f} MB, {RATIO} times its size or more, as no "
                    "archive of photographs does. Delete it and run again."
                )
            for info in progress(members, f"unpacking {archive.name}", unit="files"):
                _unzip_one(zipped, info, aside / info.filename)
        for entry in wanted:
            if not (aside / entry).exists():
                raise CaptioningError(f"{archive}: there is no {entry} in it. Delete it and run again.")
            (root / entry).parent.mkdir(parents=True, exist_ok=True)
            if not os.path.lexists(root / entry):  # no other process has put it there meanwhile
                (aside / entry).rename(root / entry)
        _dismantle(aside)
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, ValueError) as error:
        raise CaptioningError(f"{archive}: it is damaged ({error}). Delete it and run again.") from error
    except OSError as error:
        raise write_error(aside, error) from error


def clear(archive: Path, root: Path) -> None:
    """Remove what ``fetch`` and ``unzip`` left of an archive, and the archive if ``fetch`` wrote it.

    Args:
        archive: the zip file, which need not exist.
        root: the folder of the unpacked files.

    Raises:
        CaptioningError: a file can't be removed.
    """
    try:
        _dismantle(_aside(archive, root))
        remove_unfinished(archive.parent, _note(archive).name)
        if _is_fetched(archive):
            archive.unlink()
        if _read_note(archive):
            _forget(archive)
    except OSError as error:
        raise write_error(archive, error) from error


def has_left(archive: Path, root: Path) -> bool:
    """True if ``fetch`` or ``unzip`` may have left files that ``clear`` removes."""
    return os.path.lexists(_note(archive)) or os.path.lexists(_aside(archive, root))


def require_space(folder: Path, needed: int, what: str) -> None:
    """Check the free disk space before anything large is written.

    Raises:
        CaptioningError: less than ``needed`` bytes are free.
    """
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise CaptioningError(
            f"{folder}: {what} needs {needed / 1e9:.1f} GB, and {free / 1e9:.1f} GB are free on this disk. "
            "Free some space, or choose a folder on another disk (data.root)."
        )


def _part(path: Path) -> Path:
    return path.with_name(f"{path.name}.part")


def _note(path: Path) -> Path:
    return path.with_name(f".{path.name}.fetch")


def _aside(archive: Path, root: Path) -> Path:
    return root / f".{archive.name}.part"


def _read_note(path: Path) -> dict[str, Any]:
    """The note beside a file that this program downloads; empty for a missing or foreign note."""
    try:
        note = json.loads(_note(path).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    ours = isinstance(note, dict) and note.get("program") == PROGRAM and isinstance(note.get("url"), str)
    return note if ours else {}


def _begin(url: str, path: Path, size: int | None, sha256: str | None) -> None:
    """Create a ``.part`` that belongs to this program: the note is written before the ``.part``."""
    part, note, said = _part(path), _note(path), _read_note(path)
    if os.path.lexists(part) and not said:
        raise CaptioningError(
            f"{part}: this program has not written this file and will not touch it. Move it away or delete it, and run "
            "again."
        )
    if os.path.lexists(part) and said["url"] != url:
        raise CaptioningError(
            f"{part}: this has been fetched from {said['url']}, not from {url}. Go on with that address, or delete the "
            "file and run again."
        )
    if os.path.lexists(note) and not said:
        raise CaptioningError(f"{note}: this file is not one of this program. Move it away and run again.")
    if said.get("url") != url:
        write_json(note, {"program": PROGRAM, "url": url, "size": size, "sha256": sha256})
    part.touch()


def _finish(path: Path) -> None:
    """Rename the ``.part`` to its final name; the note records the file's identity first."""
    part = _part(path)
    if os.path.lexists(path):
        raise CaptioningError(f"{path}: this was put here during the download, and stays. Run again to use it.")
    try:
        with part.open("rb") as file:
            os.fsync(file.fileno())
        write_json(_note(path), {**_read_note(path), "mtime_ns": part.stat().st_mtime_ns})
        part.rename(path)
    except OSError as error:
        raise write_error(path, error) from error


def _forget(path: Path) -> None:
    """Remove the ``.part`` of a file that this program fetches, and then the note."""
    _part(path).unlink(missing_ok=True)
    _note(path).unlink(missing_ok=True)


def _is_fetched(path: Path) -> bool:
    """True if ``fetch`` wrote this file and nobody has replaced or changed the file since."""
    return path.is_file() and path.stat().st_mtime_ns == _read_note(path).get("mtime_ns")


def _accept(path: Path, size: int | None, sha256: str | None) -> None:
    """Check an existing file; ``fetch`` has already checked the content of a file that it wrote."""
    if not path.is_file():
        raise CaptioningError(f"{path}: this is no file. Move it away and run again.")
    try:
        fault = _fault(path, size, None if _is_fetched(path) else sha256)
    except OSError as error:
        raise CaptioningError(f"{path}: can't be read ({error.strerror}). Check its permissions.") from error
    if fault:
        raise CaptioningError(f"{path}: this is not the file that is expected ({fault}). Move it away and run again.")


def _fetch_rest(url: str, part: Path, size: int | None) -> None:
    """Append the missing bytes to ``part``.

    If a server sends the whole file again, the bytes received earlier are compared with it, not overwritten.

    Raises:
        ConnectionError: the connection broke off before the end, or the answer can't be the file.
    """
    have = part.stat().st_size
    if size is not None and have >= size:
        return
    with _open(url, have) as response:
        at, total = _extent(response, have, size)
        end = size if total is None else total
        bar = progress((), f"fetching {part.stem}", total=end, initial=at, unit="B", unit_scale=True)
        with part.open("r+b", buffering=0) as file, bar:
            file.seek(at)
            while chunk := response.read(CHUNK):
                if end is not None and at + len(chunk) > end:
                    _shorten(file, have)
                    raise ConnectionError(f"more than {end} bytes came")
                there = file.read(len(chunk))
                if there != chunk[: len(there)]:
                    if size is None or total is None:
                        raise ConnectionError(f"other bytes came than before; if that goes on, delete {part}")
                    file.truncate(at)  # the server's file has the right length, but the part is not its beginning
                    file.seek(at)
                    there = b""
                _write(file, chunk[len(there) :], part)
                at += len(chunk)
                bar.update(len(chunk))
            if at < have or (end is not None and at < end):
                if total is None:  # an answer of unknown length counts only if it is complete
                    _shorten(file, have)
                raise ConnectionError(f"the connection broke off after {at} of {end or have} bytes")


def _open(url: str, have: int) -> http.client.HTTPResponse:
    """Request the missing bytes; request the whole file if the server says that no bytes follow the received ones."""
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        response: http.client.HTTPResponse = urllib.request.urlopen(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        if have and error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            error.close()
            return _open(url, 0)
        raise
    return response


def _extent(response: http.client.HTTPResponse, have: int, size: int | None) -> tuple[int, int | None]:
    """The position of an answer's first byte, and the length of the whole file, if the server states it.

    Raises:
        ConnectionError: the answer can't be part of the wanted file, such as the page of a captive portal.
    """
    if response.status == http.HTTPStatus.PARTIAL_CONTENT:
        found = re.fullmatch(r"bytes (\d{1,18})-\d+/(\d{1,18}|\*)", response.headers.get("Content-Range", "").strip())
        if not found or int(found[1]) != have:
            raise ConnectionError("the server sends another part than the one asked for")
        at, total = have, found[2]
    else:
        at, total = 0, response.headers.get("Content-Length", "").strip()
    if not re.fullmatch(r"[0-9]{1,18}", total):
        return at, None
    if size not in (None, int(total)):
        raise ConnectionError(f"the server offers {total} bytes, not {size}")
    return at, int(total)


def _shorten(file: FileIO, have: int) -> None:
    """Remove the bytes that a connection has appended to the first ``have`` bytes."""
    if file.seek(0, os.SEEK_END) > have:
        file.truncate(have)


def _write(file: FileIO, chunk: bytes, path: Path) -> None:
    """Write a chunk; a failed write is no network failure, and a second attempt would not help."""
    rest = memoryview(chunk)
    try:
        while rest:
            rest = rest[file.write(rest) :]
    except OSError as error:
        raise write_error(path, error) from error


def _is_final(error: Exception) -> bool:
    """True if another attempt can't succeed: a refusal (4xx), or an invalid address."""
    if isinstance(error, urllib.error.HTTPError):
        return 400 <= error.code < 500 and error.code not in (408, 429)
    return isinstance(error, ValueError)


def _fault(path: Path, size: int | None, sha256: str | None) -> str | None:
    """The difference of a file from the expected size and checksum; None for none."""
    there = path.stat().st_size
    if size is not None and there != size:
        return f"it has {there} bytes, not {size}"
    if sha256 is not None and (found := _sha256(path)) != sha256:
        return f"its SHA-256 is {found}, not {sha256}"
    return None


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    bar = progress((), f"checking {path.name}", total=path.stat().st_size, unit="B", unit_scale=True)
    with path.open("rb") as file, bar:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
            bar.update(len(chunk))
    return digest.hexdigest()


def _is_in(name: str, entries: Sequence[str]) -> bool:
    return ".." not in name and any(name == entry or name.startswith(f"{entry}/") for entry in entries)


def _unzip_one(zipped: zipfile.ZipFile, info: zipfile.ZipInfo, target: Path) -> None:
    """Unpack a file under another name first, so that a file under its own name is complete."""
    if target.exists():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    unfinished = target.with_name(f"{target.name}.part")
    with zipped.open(info) as source, unfinished.open("wb") as file:
        shutil.copyfileobj(source, file, CHUNK)
    unfinished.replace(target)


def _dismantle(aside: Path) -> None:
    """Remove the mark and the empty folders of a folder claimed for unpacking; files in the folder stay."""
    if not aside.is_dir():
        return
    remove_unfinished(aside, MARK)
    if is_ours(aside, UNPACKING):
        for folder, _, _ in os.walk(aside, topdown=False):
            with suppress(OSError):  # the folder is not empty
                Path(folder).rmdir()
        (aside / MARK).unlink()
        if any(aside.iterdir()):
            log.warning("%s: it holds files that were not wanted, and they stay", aside)
    with suppress(OSError):
        aside.rmdir()
