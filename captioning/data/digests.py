"""Digests of files' contents, cached on disk until a file may have changed.

A digest is 128 bits of BLAKE2b. ``digests`` keeps one table for each list of paths:

    <cache>/<hash of the absolute paths>.npy   (N + 1,) ENTRY: a file's status before it was read, and its digest;
                                               the last entry has the digest of the others

An entry is valid while the file's device, inode, size, modification time and change time are all unchanged. Only the
kernel sets the change time; ``touch``, ``tar`` and ``cp -p`` can't. The clock of a file system advances in steps of up
to two seconds, and two changes within one step leave the same time. The table therefore leaves out a file that changed
less than two seconds before it was read, and the next call reads that file again.

Dimensions: N files.
"""

import hashlib
import logging
import math
import os
import stat
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from captioning.core.errors import CaptioningError
from captioning.core.files import atomic_write
from captioning.core.progress import progress

log = logging.getLogger(__name__)

BYTES = 16  # of one digest
ENTRY = np.dtype([("status", "<u8", 5), ("digest", "u1", BYTES)])
SETTLED = 2_000_000_000  # nanoseconds after a change; the coarsest file system clock (FAT) has steps of 2 s
THREADS = 8  # hashing needs fewer; a network disk answers this many requests at once
BLOCK = 256  # files read before the table may be saved
SAVE_SECONDS = 10.0  # the most reading that kill -9 can lose
NAMED = 10  # the number of unreadable files that an error names


class Digested(NamedTuple):
    """A file that was read.

    Attributes:
        digest: the digest of the file's content.
        status: the file's status before the reading, see ``_status``.
        settled: True if the status would show any later change.
    """

    digest: bytes
    status: tuple[int, ...]
    settled: bool


def digests(
    files: Sequence[str | os.PathLike[str]], cache: str | os.PathLike[str], doing: str = "reading photographs"
) -> npt.NDArray[np.uint8]:
    """The digests of files' contents; files unchanged since an earlier call are not read again.

    Args:
        files: paths of N regular files.
        cache: the folder of the table, created if missing. A damaged table is replaced. In a read-only folder no table
            is kept.
        doing: the progress bar's text.

    Returns:
        ``(N, 16)`` bytes. ``digest_of`` returns the bytes of one row.

    Raises:
        CaptioningError: files can't be read; the first ten are named, with a count.
    """
    paths = [os.path.abspath(file) for file in files]  # noqa: PTH100  # a tenth of Path.absolute's time
    table = _Table(cache, paths)
    known = (table.entries["status"] == _look(paths)).all(1) & table.entries["digest"].any(1)
    unknown = np.flatnonzero(~known)
    table.entries[unknown] = np.zeros((), ENTRY)
    found = table.entries["digest"].copy()
    problems: dict[str, str] = {}
    saved = time.monotonic()
    with ThreadPoolExecutor(THREADS) as pool, progress([], doing, len(unknown), unit="files") as bar:
        try:
            for start in range(0, len(unknown), BLOCK):
                rows = unknown[start : start + BLOCK].tolist()
                block = list(pool.map(_try, [paths[row] for row in rows]))  # an interrupt cancels the waiting files
                for row, read in zip(rows, block, strict=True):
                    if isinstance(read, str):
                        problems[paths[row]] = read
                    else:
                        found[row] = np.frombuffer(read.digest, np.uint8)
                        if read.settled:
                            table.entries[row] = (read.status, found[row])
                bar.update(len(rows))
                if time.monotonic() - saved > SAVE_SECONDS:
                    table.save()
                    saved = time.monotonic()
        finally:  # also when interrupted: keep the digests of the files read so far
            table.save()
    if problems:
        raise _unreadable(problems)
    return found


def digest_of(path: str | os.PathLike[str]) -> bytes:
    """The digest of one file's content, 16 bytes.

    Raises:
        CaptioningError: the file can't be read.
    """
    read = _try(os.fspath(path))
    if isinstance(read, str):
        raise _unreadable({os.fspath(path): read})
    return read.digest


def digest_of_bytes(content: bytes) -> bytes:
    """The digest of content already in memory, 16 bytes."""
    return hashlib.blake2b(content, digest_size=BYTES).digest()


def npy_header(dtype: npt.DTypeLike, shape: tuple[int, ...]) -> bytes:
    """The bytes before the values in a ``.npy`` file."""
    header = BytesIO()
    description: Any = np.lib.format.dtype_to_descr(np.dtype(dtype))
    np.lib.format.write_array_header_1_0(header, {"descr": description, "fortran_order": False, "shape": shape})
    return header.getvalue()


def load_array(path: Path, dtype: npt.DTypeLike, shape: tuple[int, ...]) -> npt.NDArray[Any] | None:
    """The array in a ``.npy`` file; None for a missing file, or for another type, shape or length."""
    header = npy_header(dtype, shape)
    try:
        content = path.read_bytes()
    except OSError:
        return None
    if not content.startswith(header) or len(content) - len(header) != np.dtype(dtype).itemsize * math.prod(shape):
        return None
    return np.frombuffer(content, dtype, offset=len(header)).reshape(shape).copy()


def save_array(path: Path, array: npt.NDArray[Any]) -> None:
    """Write an array as a ``.npy`` file, whole or not at all.

    Raises:
        CaptioningError: the disk is full or the folder can't be written to.
    """
    with atomic_write(path, "wb") as file:
        file.write(npy_header(array.dtype, array.shape) + array.tobytes())


class _Table:
    """The table of a list of paths.

    The file's name is a hash of 128 bits, so that only an earlier table of the same paths has the same name.
    """

    def __init__(self, cache: str | os.PathLike[str], paths: Sequence[str]) -> None:
        name = hashlib.sha256(b"\0".join(map(os.fsencode, paths))).hexdigest()[:32]
        self.path = Path(cache) / f"{name}.npy"
        loaded = load_array(self.path, ENTRY, (len(paths) + 1,))
        whole = loaded is not None and loaded.tobytes() == _sealed(loaded[:-1]).tobytes()
        self.entries = loaded[:-1] if loaded is not None and whole else np.zeros(len(paths), ENTRY)
        self.on_disk = self.entries.tobytes()  # a missing file equals a table of zeros
        self.writable = True

    def save(self) -> None:
        """Write the table if it has changed and the folder is writable."""
        content = self.entries.tobytes()
        if content == self.on_disk or not self.writable:
            return
        try:
            save_array(self.path, _sealed(self.entries))
        except CaptioningError as error:
            self.writable = False
            log.info("What was read is not kept, so that the next run reads the same files again. %s", error)
        else:
            self.on_disk = content


def _sealed(entries: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Entries and a last one with the digest of all others: a damaged table is not believed."""
    last = np.zeros(1, ENTRY)
    last["digest"] = np.frombuffer(digest_of_bytes(entries.tobytes()), np.uint8)
    return np.concatenate([entries, last])


def _look(paths: Sequence[str]) -> npt.NDArray[np.uint64]:
    """The status of every file, ``(N, 5)``."""
    found, problems = [], {}
    for path in paths:
        try:
            status = os.stat(path)  # noqa: PTH116  # half of Path.stat's time
        except OSError as error:
            problems[path] = _reason(error)
        else:
            found.append(_status(status))
            if not stat.S_ISREG(status.st_mode):  # opening a pipe would wait for its writer
                problems[path] = "no regular file"
    if problems:
        raise _unreadable(problems)
    return np.array(found, np.uint64).reshape(-1, 5)


def _status(status: os.stat_result) -> tuple[int, ...]:
    """The values of a file's status that differ after a change, as five numbers of 64 bits."""
    numbers = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
    return tuple(number & (2**64 - 1) for number in numbers)  # a time may be negative


def _try(path: str) -> Digested | str:
    """Read a file; return its digest, or the reason why reading failed."""
    try:
        now = time.time_ns()
        with Path(path).open("rb", buffering=0) as file:
            status = os.fstat(file.fileno())
            digest = hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=BYTES)).digest()
    except OSError as error:
        return _reason(error)
    return Digested(digest, _status(status), now - status.st_ctime_ns > SETTLED)


def _reason(error: OSError) -> str:
    return error.strerror or str(error)


def _unreadable(problems: Mapping[str, str]) -> CaptioningError:
    """The error for unreadable files; ``problems`` maps each file to its reason."""
    first = ", ".join(f"{path} ({problem})" for path, problem in list(problems.items())[:NAMED])
    more = ", …" if len(problems) > NAMED else ""
    what = "1 file" if len(problems) == 1 else f"{len(problems)} files"
    return CaptioningError(f"{what} can't be read: {first}{more}. Check the paths and their permissions.")
