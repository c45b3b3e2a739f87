"""Sources of many pictures: folders, lists, WebDataset's tar files, Parquet files; read as they are needed.

A source is cut into shards, whose pictures are captioned together. A shard is a tar file, a Parquet file, or so many
files of folders, lists and patterns. Memory holds the names of one shard and of one folder.
"""

import glob
import hashlib
import os
import tarfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from captioning.bulk.forms import LISTS, PARQUET, TARS
from captioning.core.errors import CaptioningError
from captioning.core.images import HIDDEN, SUFFIXES, walk_images
from captioning.core.regular import require_regular
from captioning.core.texts import open_text
from captioning.predict.pictures import Encoded

COLUMNS = ("image", "jpg", "jpeg", "png", "webp", "img", "bytes", "picture", "photo")  # of a Parquet file, by default
AT_ONCE = 64  # rows of a Parquet file in memory
LARGEST = 2**28  # bytes of a file within a tar file
NAMING = (tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, tarfile.XHDTYPE, tarfile.XGLTYPE)  # of names alone
LONGEST = 2**20  # bytes of such a member


@dataclass(frozen=True)
class Item:
    """One picture.

    Attributes:
        name: the name in the output: the file's path; ``shard.tar/photo.jpg`` in a tar file; ``table.parquet/17`` in a
            Parquet file, whose rows count from 0.
        picture: the file, or its bytes.
    """

    name: str
    picture: str | os.PathLike[str] | Encoded


@dataclass(frozen=True)
class Shard:
    """Pictures that are captioned together.

    Attributes:
        number: the shard's place in the source, from 0.
        kind: the form of the pictures.
        paths: the files; one tar or Parquet file.
        column: the pictures' column of a Parquet file; None for the first column of ``COLUMNS`` that is there.
    """

    number: int
    kind: Literal["files", "tar", "parquet"]
    paths: tuple[str, ...]
    column: str | None = None

    def items(self) -> Iterator[Item]:
        """The pictures in order.

        Raises:
            CaptioningError: a tar or Parquet file is missing or damaged, or lacks the column.
        """
        if self.kind == "tar":
            return _of_tar(self.paths[0])
        if self.kind == "parquet":
            return _of_parquet(self.paths[0], self.column)
        return (Item(_name(path), path) for path in self.paths)

    @property
    def identity(self) -> str:
        """A digest of the shard's names, and of the size of a tar or Parquet file."""
        size = [] if self.kind == "files" else [str(_size(self.paths[0])), str(self.column)]
        return hashlib.sha256("\0".join(map(_name, [self.kind, *self.paths, *size])).encode()).hexdigest()[:32]


def shards_of(pictures: Sequence[str], size: int = 10_000, column: str | None = None) -> Iterator[Shard]:
    """The shards of a source, each made when it is needed.

    Args:
        pictures: pictures, folders, patterns, lists of files (``.txt``: a path on each line, from the list's folder),
            tar files and Parquet files.
        size: the number of files in a shard of folders, lists and patterns.
        column: the pictures' column of Parquet files.

    Raises:
        CaptioningError: a folder holds no picture, a pattern matches no file, or a list can't be read.
    """
    if size < 1:
        raise CaptioningError(f"--shard-size {size}: take 1 picture or more.")
    number = 0
    waiting: list[Iterator[str]] = []

    def files() -> Iterator[Shard]:
        nonlocal number
        found = chain.from_iterable(waiting)
        while paths := tuple(islice(found, size)):
            yield Shard(number, "files", paths)
            number += 1
        waiting.clear()

    for name in pictures:
        for path in _matches(name):
            if path.lower().endswith(TARS + PARQUET) and not os.path.isdir(path):  # noqa: PTH112
                yield from files()
                yield Shard(number, "tar" if path.lower().endswith(TARS) else "parquet", (path,), column)
                number += 1
            else:
                waiting.append(_files(path))
    yield from files()


def items_of(shards: Iterable[Shard]) -> Iterator[Item]:
    """The pictures of shards, one shard after the other."""
    for shard in shards:
        yield from shard.items()


def _matches(name: str) -> list[str]:
    if os.path.exists(name) or not glob.has_magic(name):  # noqa: PTH110  # Path raises for a name that is too long
        return [name]
    found = sorted(glob.glob(name, recursive=True))  # noqa: PTH207
    if not found:
        raise CaptioningError(f"{name}: no picture there. Check the folder or the pattern.")
    return found


def _files(path: str) -> Iterator[str]:
    """The files of a folder, of a list, or a file alone."""
    if os.path.isdir(path):  # noqa: PTH112
        empty = True
        for found in walk_images(path):
            empty = False
            yield str(found)
        if empty:
            raise CaptioningError(f"{path}: no picture there. Check the folder or the pattern.")
    elif path.lower().endswith(LISTS):
        folder = os.path.dirname(path)  # noqa: PTH120
        with open_text(path, "list of pictures") as lines:
            for line in lines:
                if name := line.strip("\r\n"):
                    yield os.path.join(folder, name)  # noqa: PTH118 (a Path keeps its parts in memory)
    else:
        yield path


class _Member(tarfile.TarInfo):
    """A member of a tar file whose name does not ask for memory: a few bytes can unpack to gigabytes."""

    def _proc_member(self, tar: tarfile.TarFile) -> tarfile.TarInfo:
        if self.type in NAMING and self.size > LONGEST:
            raise tarfile.ReadError(f"a name of {self.size} bytes")
        found: tarfile.TarInfo = super()._proc_member(tar)  # type: ignore[misc]
        return found


def _of_tar(path: str) -> Iterator[Item]:
    """The pictures of a tar file, in one pass, so that it may be compressed; other files in it are passed over."""
    try:
        require_regular(path, "tar file")
        with tarfile.open(path, "r|*", tarinfo=_Member) as tar:
            for member in tar:
                tar.members = []  # type: ignore[attr-defined]  # of which a tar file of a million pictures would keep a million
                name = PurePosixPath(member.name)
                if not member.isreg() or name.suffix.lower() not in SUFFIXES:
                    continue
                if name.name in HIDDEN or name.name.startswith("._"):
                    continue
                file = tar.extractfile(member) if member.size <= LARGEST else None
                shown = f"{_name(path)}/{_name(member.name)}"
                yield Item(shown, Encoded(shown, file.read() if file else b""))
    except FileNotFoundError:
        raise CaptioningError(f"{path}: there is no such tar file. Check the path.") from None
    except CaptioningError:
        raise
    except Exception as error:  # tarfile and the libraries of compression raise anything
        raise CaptioningError(f"{path}: this tar file can't be read on ({error}). Fetch or make it again.") from error


def _of_parquet(path: str, column: str | None) -> Iterator[Item]:
    """The pictures of a Parquet file: bytes, paths, or the structures of ``datasets`` (``{"bytes", "path"}``)."""
    parquet = parquet_library()
    try:
        require_regular(path, "Parquet file")
        with parquet.ParquetFile(path) as file:
            names = file.schema_arrow.names
            chosen = column if column in names else next((name for name in COLUMNS if name in names), None)
            if chosen is None or (column is not None and chosen != column):
                wanted = f"no column {column!r}" if column else "no column of pictures"
                raise CaptioningError(f"{path}: {wanted}. Name one with --column: {', '.join(names)}.")
            place = 0
            for batch in file.iter_batches(batch_size=AT_ONCE, columns=[chosen]):
                for value in batch.column(0).to_pylist():
                    yield Item(f"{_name(path)}/{place}", _picture(value, f"{_name(path)}/{place}", Path(path).parent))
                    place += 1
    except FileNotFoundError:
        raise CaptioningError(f"{path}: there is no such Parquet file. Check the path.") from None
    except CaptioningError:
        raise
    except Exception as error:  # pyarrow raises anything
        raise CaptioningError(f"{path}: this Parquet file can't be read ({error}). Fetch or make it again.") from error


def _picture(value: Any, name: str, folder: Path) -> str | Encoded:
    if isinstance(value, dict):  # of the library datasets
        value = value.get("bytes") or value.get("path")
    if isinstance(value, str):
        return str(folder / value)
    return Encoded(name, value if isinstance(value, bytes) else b"")


def parquet_library() -> Any:
    """The module that reads and writes Parquet.

    Raises:
        CaptioningError: the module is not installed.
    """
    try:
        import pyarrow.parquet
    except ImportError as error:
        raise CaptioningError(
            "Parquet needs pyarrow: pip install 'captioning[parquet]'. JSON lines need nothing more (--out x.jsonl)."
        ) from error
    return pyarrow.parquet


def _size(path: str) -> int:
    try:
        return Path(path).stat().st_size
    except OSError:
        return -1  # its reading says what is wrong


def _name(path: str) -> str:
    """A name as text that can be written: bytes that are not UTF-8 become U+FFFD."""
    return os.fsencode(path).decode(errors="replace")
