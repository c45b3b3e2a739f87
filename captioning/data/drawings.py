"""Folders of data that code draws once, from a seed: scenes, moving scenes."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from captioning.core.errors import CaptioningError
from captioning.core.files import read_json, write_json
from captioning.core.locks import lock
from captioning.core.ownership import claim, kind_of

MANIFEST = "manifest.json"
LEAST = 12  # for three splits


@dataclass(frozen=True)
class Drawing:
    """What is drawn into a folder, which holds nothing else.

    Attributes:
        what: the name in messages and in the folder's mark ("scenes").
        version: the version of pictures and captions.
        count: the number of pictures or clips.
        seed: the seed; equal seeds give equal bytes.
    """

    what: str
    version: int
    count: int
    seed: int

    @property
    def manifest(self) -> dict[str, int]:
        """The content of the file that is written last."""
        return {"version": self.version, "count": self.count, "seed": self.seed}

    @property
    def purpose(self) -> str:
        """The purpose in the folder's mark: an interrupted drawing is continued only with the same settings."""
        return f"{self.what} version {self.version}, count {self.count}, seed {self.seed}"

    def is_in(self, root: Path) -> bool:
        """True if the folder holds this drawing, whole."""
        path = root / MANIFEST
        return path.is_file() and read_json(path, f"manifest of {self.what}") == self.manifest

    def ensure(self, root: Path, draw: Callable[[Path], None]) -> None:
        """Draw into the folder unless it is drawn, the manifest last: an interrupted drawing is drawn anew.

        Args:
            root: the folder, made if missing.
            draw: a function that draws into the folder, over files of an interrupted drawing.

        Raises:
            CaptioningError: the folder holds something else or another drawing, or can't be written; fewer than
                ``LEAST`` are asked for.
        """
        if self.is_in(root):
            return
        if self.count < LEAST:
            raise CaptioningError(f"data.count={self.count}: at least {LEAST} {self.what} are needed for three splits.")
        self._refuse_others(root)
        claim(root, self.purpose, self.what)
        guard = root / ".lock"
        with lock(guard, wait=True):
            if self.is_in(root):  # another process was faster
                return
            try:
                draw(root)
            except OSError as error:
                raise CaptioningError(
                    f"{root}: the {self.what} can't be drawn ({error.strerror or error}). Free some space or check the "
                    "folder's permissions, and run again."
                ) from error
            write_json(root / MANIFEST, self.manifest)
            guard.unlink()  # processes that wait for the guard find the manifest

    def _refuse_others(self, root: Path) -> None:
        """Refuse a folder of another drawing, whose replacement would change the data under a running training."""
        purpose = kind_of(root) or ""
        begin = f"{self.what} "
        if purpose.startswith(begin) and purpose != self.purpose and not (root / MANIFEST).exists():
            raise CaptioningError(
                f"{root}: this holds an unfinished drawing of other {self.what} ({purpose.removeprefix(begin)}). "
                f"Delete it, or draw into another folder (data.root={root}_{self.count})."
            )
        path = root / MANIFEST
        found = read_json(path, f"manifest of {self.what}") if path.is_file() else None
        if isinstance(found, dict) and found.keys() == self.manifest.keys():
            settings = ", ".join(f"{name} {value}" for name, value in found.items())
            raise CaptioningError(
                f"{root}: this holds other {self.what} ({settings}; asked for: version {self.version}, count "
                f"{self.count}, seed {self.seed}), and they stay. Draw into another folder "
                f"(data.root={root}_{self.count}), or delete this one first."
            )
