"""Fetching large files, so that an interrupted download or unpacking goes on where it stopped."""

import hashlib
import http.client
import shutil
import time
import urllib.error
import urllib.request
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from captioning.core.errors import CaptioningError
from captioning.core.files import write_error
from captioning.core.progress import progress

CHUNK = 1 << 20  # bytes
TIMEOUT = 60.0  # seconds without an answer


def fetch(
    url: str, path: Path, size: int | None = None, sha256: str | None = None, attempts: int = 5, pause: float = 2.0
) -> None:
    """Fetch a file; ``path`` exists once it is there in full and has been checked.

    What has arrived is kept in ``<path>.part``, and a later call asks the server for the rest alone.

    Args:
        url: the file's address.
        path: where to put it; a file that is there with the right size is not fetched again.
        size: its length in bytes, if known.
        sha256: its checksum in hexadecimal, if known.
        attempts: how many connections in a row may end without a new byte.
        pause: seconds before the second attempt; doubled with each further one.

    Raises:
        CaptioningError: there is no such file, the server stays silent, the disk is full, or what came is not what
            was expected (it is then deleted).
    """
    if path.exists():
        if size in (None, path.stat().st_size):
            return
        raise CaptioningError(f"{path}: it has {path.stat().st_size} bytes, not {size}. Delete it and run again.")
    part = path.with_name(f"{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.touch()
    except OSError as error:
        raise write_error(part, error) from error
    if size is not None:
        require_space(path.parent, size - part.stat().st_size, url)
    failures = 0
    while True:
        before = part.stat().st_size
        try:
            _fetch_rest(url, part, size)
            break
        except (OSError, http.client.HTTPException) as error:
            failures = 1 if part.stat().st_size > before else failures + 1
            if _is_final(error) or failures >= attempts:
                raise CaptioningError(
                    f"{url}: can't be fetched ({error}). Check the address and the network, and run again: the "
                    f"{part.stat().st_size} bytes that have arrived are kept in {part}."
                ) from error
            time.sleep(pause * 2 ** (failures - 1))
    _check(url, part, size, sha256)
    part.replace(path)


def unzip(archive: Path, root: Path, entries: Sequence[str]) -> None:
    """Unpack some files or folders of a zip; each is in ``root`` once it is there in full.

    They are unpacked aside, in ``root/.<archive>.part``, where a later call finds what an interrupted one has done.
    Every file's CRC is checked.

    Args:
        archive: the zip file.
        root: where to unpack.
        entries: paths inside of the zip, of files or folders.

    Raises:
        CaptioningError: the archive is damaged or lacks an entry, or the disk is full.
    """
    aside = root / f".{archive.name}.part"
    try:
        with zipfile.ZipFile(archive) as zipped:
            members = [info for info in zipped.infolist() if not info.is_dir() and _is_in(info.filename, entries)]
            for info in progress(members, f"unpacking {archive.name}", unit="file"):
                _unzip_one(zipped, info, aside / info.filename)
        for entry in entries:
            if not (aside / entry).exists():
                raise CaptioningError(f"{archive}: there is no {entry} in it. Delete it and run again.")
            (root / entry).parent.mkdir(parents=True, exist_ok=True)
            (aside / entry).rename(root / entry)
        shutil.rmtree(aside)
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise CaptioningError(f"{archive}: it is damaged ({error}). Delete it and run again.") from error
    except OSError as error:
        raise write_error(aside, error) from error


def require_space(folder: Path, needed: int, what: str) -> None:
    """Look at the free disk before anything large is written.

    Raises:
        CaptioningError: less than ``needed`` bytes are free.
    """
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise CaptioningError(
            f"{folder}: {what} needs {needed / 1e9:.1f} GB, and {free / 1e9:.1f} GB are free on this disk. "
            "Free some space, or choose a folder on another disk (data.root)."
        )


def _fetch_rest(url: str, part: Path, size: int | None) -> None:
    """Append what is missing to ``part``.

    Raises:
        ConnectionError: the connection broke off before the end.
    """
    have = part.stat().st_size
    if have and have == size:
        return
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    with _open(request, part) as response:
        if response.status == http.HTTPStatus.OK:
            have = 0  # the server sends all of it, whatever was asked for
        length = response.headers.get("Content-Length")
        total = have + int(length) if length else size
        bar = progress((), f"fetching {part.stem}", total=total, initial=have, unit="B", unit_scale=True)
        with part.open("ab") as file, bar:
            file.truncate(have)
            while chunk := response.read(CHUNK):
                _write(file, chunk, part)
                bar.update(len(chunk))
    arrived = part.stat().st_size
    if total is not None and arrived < total:
        raise ConnectionError(f"the connection broke off after {arrived} of {total} bytes")


def _open(request: urllib.request.Request, part: Path) -> http.client.HTTPResponse:
    try:
        response: http.client.HTTPResponse = urllib.request.urlopen(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:  # there is nothing after what has arrived
            part.unlink()
            part.touch()
            raise ConnectionError("the rest could not be had; all of it is asked for again") from error
        raise
    return response


def _write(file: BinaryIO, chunk: bytes, path: Path) -> None:
    """A failed write is no failure of the network, and trying again would not mend it."""
    try:
        file.write(chunk)
        file.flush()
    except OSError as error:
        raise write_error(path, error) from error


def _is_final(error: Exception) -> bool:
    """A refusal (4xx) that trying again won't change."""
    return isinstance(error, urllib.error.HTTPError) and 400 <= error.code < 500 and error.code not in (408, 429)


def _check(url: str, part: Path, size: int | None, sha256: str | None) -> None:
    wrong = None
    arrived = part.stat().st_size
    if size is not None and arrived != size:
        wrong = f"{arrived} bytes came, not {size}"
    elif sha256 is not None and (found := _sha256(part)) != sha256:
        wrong = f"its SHA-256 is {found}, not {sha256}"
    if wrong:
        part.unlink()
        raise CaptioningError(f"{url}: what came is not what was expected ({wrong}) and was deleted. Run again.")


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    bar = progress((), f"checking {path.stem}", total=path.stat().st_size, unit="B", unit_scale=True)
    with path.open("rb") as file, bar:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
            bar.update(len(chunk))
    return digest.hexdigest()


def _is_in(name: str, entries: Sequence[str]) -> bool:
    return ".." not in name and any(name == entry or name.startswith(f"{entry}/") for entry in entries)


def _unzip_one(zipped: zipfile.ZipFile, info: zipfile.ZipInfo, target: Path) -> None:
    """Unpack a file under another name first: under its own name it is whole."""
    if target.exists():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    unfinished = target.with_name(f"{target.name}.part")
    with zipped.open(info) as source, unfinished.open("wb") as file:
        shutil.copyfileobj(source, file, CHUNK)
    unfinished.replace(target)
