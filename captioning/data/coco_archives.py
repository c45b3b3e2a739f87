"""Download of COCO: photographs and captions of 2014 or 2017, in the layout that ``read_coco`` reads.

``prepare_archives`` does the same for any set of zip files.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from captioning.core.errors import CaptioningError
from captioning.core.files import write_error
from captioning.core.locks import lock
from captioning.data.download import SMALL, clear, fetch, has_left, require_space, unzip

LOCK = ".captioning-lock"  # in the folder that is being prepared


@dataclass(frozen=True)
class Archive:
    """A zip file on a server.

    Attributes:
        place: the path on the server.
        size: the size in bytes; None if unknown.
        sha256: the checksum; None if unknown.
        entries: the paths inside the zip of the files and folders to unpack.
    """

    place: str
    size: int | None
    sha256: str | None
    entries: tuple[str, ...]

    @property
    def name(self) -> str:
        """The file's name."""
        return Path(self.place).name


# COCO publishes no checksums: these are those that TensorFlow Datasets records (``url_checksums/coco.txt``).
ARCHIVES = {
    2014: (
        Archive(
            "annotations/annotations_trainval2014.zip",
            252872794,
            "031296bbc80c45a1d1f76bf9a90ead27e94e99ec629208449507a4917a3bf009",
            ("annotations/captions_train2014.json", "annotations/captions_val2014.json"),
        ),
        Archive(
            "zips/train2014.zip",
            13510573713,
            "ede4087e640bddba550e090eae701092534b554b42b05ac33f0300b984b31775",
            ("train2014",),
        ),
        Archive(
            "zips/val2014.zip",
            6645013297,
            "fe9be816052049c34717e077d9e34aa60814a55679f804cd043e3cbee3b9fde0",
            ("val2014",),
        ),
    ),
    2017: (
        Archive(
            "annotations/annotations_trainval2017.zip",
            252907541,
            "113a836d90195ee1f884e704da6304dfaaecff1f023f49b6ca93c4aaae470268",
            ("annotations/captions_train2017.json", "annotations/captions_val2017.json"),
        ),
        Archive(
            "zips/train2017.zip",
            19336861798,
            "69a8bb58ea5f8f99d24875f21416de2e9ded3178e903f1f7603e283b9e06d929",
            ("train2017",),
        ),
        Archive(
            "zips/val2017.zip",
            815585330,
            "4f7e2ccb2866ec5041993c9cf2a952bbed69647b115d0f74da7ce8f4bef82f05",
            ("val2017",),
        ),
    ),
}


def prepare_coco(root: str | os.PathLike[str], year: int = 2017, server: str = "http://images.cocodataset.org") -> None:
    """Download the missing parts of COCO, check them (size, SHA-256, CRC), and unpack them.

    After an interruption at any point, the next call continues from there. A downloaded zip is deleted after unpacking;
    a zip that a user has put into the folder is checked, used, and kept. An existing set or captions file is neither
    unpacked again nor replaced. If several processes prepare one folder, one works and the others wait.

    Args:
        root: the data set's folder.
        year: 2014 or 2017.
        server: the base address of the archives' paths.

    Raises:
        CaptioningError: the disk has too little room, the server can't be reached, an archive is damaged, or a foreign
            file blocks a path.
    """
    if year not in ARCHIVES:
        raise CaptioningError(
            f"COCO captions are of 2014 and 2017, not of {year}. Set data.prepare.year to one of them."
        )
    prepare_archives(Path(root), ARCHIVES[year], server, f"COCO {year}")


def prepare_archives(root: Path, archives: Sequence[Archive], server: str, what: str) -> None:
    """The same for any archives.

    Args:
        root: the data set's folder.
        archives: the archives.
        server: the base address of the archives' paths.
        what: the data set's name, for messages.

    Raises:
        CaptioningError: see ``prepare_coco``.
    """
    if not any(_missing(root, archive) or has_left(root / archive.name, root) for archive in archives):
        return  # no write: the folder may be read-only
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise write_error(root, error) from error
    with lock(root / LOCK, wait=True):
        wanted = [archive for archive in archives if _missing(root, archive)]
        require_space(root, _needed(root, wanted), what)
        for archive in archives:
            path = root / archive.name
            if missing := _missing(root, archive):
                fetch(f"{server}/{archive.place}", path, archive.size, archive.sha256)
                unzip(path, root, missing)
            clear(path, root)


def _missing(root: Path, archive: Archive) -> list[str]:
    """The entries that are in none of the folders that ``read_coco`` searches."""
    return [entry for entry in archive.entries if not _is_there(root, entry)]


def _is_there(root: Path, entry: str) -> bool:
    places = [root / entry, root / f"images/{entry}", root / Path(entry).name]
    if any(place.exists() for place in places):
        return True
    if lost := [place for place in places if place.is_symlink()]:
        raise CaptioningError(f"{lost[0]}: this link leads nowhere. Mend or remove it and run again.")
    return False


def _needed(root: Path, archives: list[Archive]) -> int:
    """The required free bytes: photographs unpack to about the size of their zip, and only one zip exists at a time."""
    unpacked = sum(archive.size or SMALL for archive in archives)
    largest = max((archive.size or SMALL for archive in archives), default=0)
    arrived = sum(
        path.stat().st_size
        for archive in archives
        for path in (root / archive.name, root / f"{archive.name}.part")
        if path.exists()
    )
    return max(0, unpacked + largest - arrived)
