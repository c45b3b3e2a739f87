"""Regular files, told from pipes and devices, which may have no end."""

import os
import stat

from captioning.core.errors import CaptioningError


def require_regular(path: str | os.PathLike[str], what: str) -> None:
    """Check that a path leads to a regular file: opening a pipe waits for its writer, and a device may have no end.

    Args:
        path: the file.
        what: the kind of file, for the error's message ("picture", "checkpoint").

    Raises:
        CaptioningError: a folder, pipe, socket or device is there.
        OSError: nothing is there, or the path can't be looked at.
    """
    mode = os.stat(path).st_mode  # noqa: PTH116  # half of Path.stat's time
    if not stat.S_ISREG(mode):
        kind = "a folder" if stat.S_ISDIR(mode) else "a pipe" if stat.S_ISFIFO(mode) else "a device or socket"
        raise CaptioningError(f"{path}: this {what} can't be read, for it is {kind}. Give a file.")
