"""The common in-memory form of captioned photographs, for all file formats."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

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
    """A photograph and its captions.

    Attributes:
        id: the id in COCO's results format: the number in COCO's and Karpathy's files, the file name elsewhere.
        path: the image file.
        captions: as written, not tokenized; one or more.
        boxes: the places of the objects that the captions name; empty where unknown.
    """

    id: int | str
    path: Path
    captions: tuple[str, ...]
    boxes: tuple[Box, ...] = ()


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

        Raises:
            CaptioningError: files are missing; the first ten are named, with a count.
        """
        require_files(photo.path for photo in self)
        return self


def require_files(paths: Iterable[Path]) -> None:
    """Check that files exist, with one listing per folder instead of one check per file.

    Raises:
        CaptioningError: files are missing; the first ten are named, with a count.
    """
    listings: dict[Path, set[str]] = {}
    missing: list[Path] = []
    for path in paths:
        if path.parent not in listings:
            listings[path.parent] = {entry.name for entry in path.parent.iterdir()} if path.parent.is_dir() else set()
        if path.name not in listings[path.parent]:
            missing.append(path)
    if missing:
        first = ", ".join(str(path) for path in missing[:10]) + (", …" if len(missing) > 10 else "")
        raise CaptioningError(
            f"{len(missing)} annotated pictures are missing: {first}. Fetch them, or correct the folder (data.root)."
        )
