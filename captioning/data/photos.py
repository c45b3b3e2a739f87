"""The common in-memory form of captioned photographs, for all file formats."""

import os
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path, PureWindowsPath

from captioning.core.errors import CaptioningError

SPLITS = ("train", "val", "test")


@dataclass(frozen=True, slots=True)
class Box:
    """A named object's place in a photograph, in pixels of the file; known only for the scenes.

    Attributes:
        words: the words that name the object in captions ("ball", "balls").
        x, y: the upper left corner.
        width, height: the sides.
    """

    words: tuple[str, ...]
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class Photo:
    """A photograph and its captions; or a clip, whose frames ``encoder=frames`` reads.

    Attributes:
        id: the id in COCO's results format: the number in COCO's and Karpathy's files, the file name elsewhere.
        path: the image file, or the clip.
        captions: as written, not tokenized; one or more.
        boxes: the places of the objects that the captions name; empty where unknown.
        labels: what happens in each frame of a clip, a word for each; empty where unknown.
    """

    id: int | str
    path: Path
    captions: tuple[str, ...]
    boxes: tuple[Box, ...] = ()
    labels: tuple[str, ...] = ()


@dataclass
class CaptionedPhotos:
    """Photographs with captions, by split.

    Attributes:
        name: the data set's name ("coco", "flickr8k").
        splits: ``train``, ``val`` and ``test``; a split may be empty.
    """

    name: str
    splits: dict[str, list[Photo]] = field(default_factory=dict)

    def __getitem__(self, split: str) -> list[Photo]:
        """The photographs of a split.

        Raises:
            CaptioningError: the split does not exist or is empty.
        """
        photos = self.splits.get(split)
        if not photos:
            there = ", ".join(f"{name} ({len(photos)})" for name, photos in self.splits.items() if photos) or "none"
            raise CaptioningError(f"{self.name}: the split {split!r} is empty. Splits with photographs: {there}.")
        return photos

    def __iter__(self) -> Iterator[Photo]:
        """All photographs, split by split."""
        for photos in self.splits.values():
            yield from photos

    def require_files(self) -> "CaptionedPhotos":
        """Check that every photograph's file exists.

        A name whose accents are written in another form of Unicode than on the disk (NFC, NFD) gets the disk's form,
        and a path with the backslashes of Windows this system's.

        Returns:
            The photographs, with the paths on the disk.

        Raises:
            CaptioningError: files are missing or no regular files; the first ten are named, with a count.
        """
        listings = Listings()
        splits = {split: [_on_disk(photo, listings) for photo in photos] for split, photos in self.splits.items()}
        require_files((photo.path for photos in splits.values() for photo in photos), listings)
        return CaptionedPhotos(self.name, splits)


class Listings:
    """The names in folders, each folder listed once."""

    def __init__(self) -> None:
        """Begin without any."""
        self.folders: dict[Path, dict[str, bool]] = {}
        self.forms: dict[Path, dict[str, str]] = {}

    def of(self, folder: Path) -> dict[str, bool]:
        """The names in a folder, each with True for a regular file or a link to one; none for a missing folder."""
        if folder not in self.folders:
            self.folders[folder] = _listing(folder)
        return self.folders[folder]

    def on_disk(self, path: Path) -> Path:
        """A path with the names that the disk has, which may differ in the form of accents or have no backslashes."""
        folder, names = path.parent, [path.name]
        if path.name in self.of(folder) or (path.name.isascii() and "\\" not in path.name and _is_folder(folder)):
            return path
        while not _is_folder(folder) and folder != folder.parent:
            folder, names = folder.parent, [folder.name, *names]
        while names:
            name, *names = names
            if "\\" in name and name not in self.of(folder):
                name, *names = [*filter(None, name.split("\\")), *names]
            found = self._form(folder, name)
            if found is None:  # nor is there anything in it
                return folder.joinpath(name, *(each.replace("\\", "/") for each in names))
            folder /= found
        return folder

    def _form(self, folder: Path, name: str) -> str | None:
        """The name in a folder that is the same but for the form of accents; None for none."""
        if folder not in self.forms:
            self.forms[folder] = {unicodedata.normalize("NFC", name): name for name in self.of(folder)}
        return self.forms[folder].get(unicodedata.normalize("NFC", name))


def _on_disk(photo: Photo, listings: Listings) -> Photo:
    found = listings.on_disk(photo.path)
    return photo if found is photo.path else replace(photo, path=found)


def require_files(paths: Iterable[Path], listings: Listings | None = None) -> None:
    """Check that regular files exist, with one listing per folder instead of one check per file.

    Raises:
        CaptioningError: files are missing or no regular files; the first ten are named, with a count.
    """
    listings = listings or Listings()
    missing: list[Path] = []
    irregular: list[Path] = []
    for path in paths:
        regular = listings.of(path.parent).get(path.name)
        if not regular:
            (missing if regular is None else irregular).append(path)
    if missing:
        raise CaptioningError(f"{_counted(missing)} missing: {_first_ten(missing)}. {_remedy(missing)}")
    if irregular:
        raise CaptioningError(
            f"{_counted(irregular)} no regular files (but a folder, a pipe, a device or a link to "
            f"nothing): {_first_ten(irregular)}. Put pictures there, or take them out of the annotations."
        )


def _is_folder(path: Path) -> bool:
    """``Path.is_dir``, also of a path that is too long for this system, which is no folder."""
    return os.path.isdir(path)  # noqa: PTH112


def _listing(folder: Path) -> dict[str, bool]:
    """The names in a folder, each with True for a regular file or a link to one."""
    if not _is_folder(folder):
        return {}
    try:
        with os.scandir(folder) as entries:
            return {entry.name: entry.is_file() for entry in entries}
    except OSError as error:
        raise CaptioningError(f"{folder}: can't be opened ({error.strerror}). Check its permissions.") from error


def _first_ten(paths: list[Path]) -> str:
    return ", ".join(map(str, paths[:10])) + (", …" if len(paths) > 10 else "")


def _counted(paths: list[Path]) -> str:
    return f"{len(paths)} annotated picture{' is' if len(paths) == 1 else 's are'}"


def _remedy(missing: list[Path]) -> str:
    """What to do about missing pictures, by the form of their paths."""
    parts = missing[0].parts
    if any(part in ("http:", "https:", "file:") for part in parts):
        return "These are addresses: fetch the pictures, and name files."
    if os.name != "nt" and any(PureWindowsPath(part).drive for part in parts):
        return "These are paths of another system: name the pictures relative to the file that lists them."
    return "Fetch them, or correct the folder (data.root)."
