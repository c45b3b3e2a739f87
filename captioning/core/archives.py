"""Archives of ``torch.save``, verified before their content is believed.

``torch.load`` does not compare the checksums (CRC-32) that ``torch.save`` has written: a flipped bit or a hole in the
file would be weights like any others. The comparison costs less time than the reading.
"""

import os
import zipfile
import zlib

from captioning.core.errors import CaptioningError
from captioning.core.regular import require_regular

BLOCK = 1 << 20  # bytes


def verify_archive(path: str | os.PathLike[str], what: str = "checkpoint", earlier: bool = False) -> None:
    """Verify the checksum of every record in a file of ``torch.save``.

    Args:
        path: the file.
        what: the kind of file, for the error's message.
        earlier: True to accept a file of torch before 1.6, which is no zip archive and has no checksums.

    Raises:
        CaptioningError: the file is missing, no regular file, no archive, or damaged; or records are compressed or
            overlap, as in an archive that unpacks to many times its size.
    """
    fault = None
    try:
        require_regular(path, what)
        if earlier and not zipfile.is_zipfile(path):
            return
        with zipfile.ZipFile(path) as archive:
            fault = _fault(archive, os.path.getsize(path))  # noqa: PTH202  # takes text as well
    except FileNotFoundError:
        raise CaptioningError(f"{path}: there is no such {what}. Check the path.") from None
    except OSError as error:
        raise CaptioningError(f"{path}: this {what} can't be read ({error.strerror or error}).") from error
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
        fault = str(error).splitlines()[0] if str(error) else type(error).__name__
    if fault:
        raise CaptioningError(
            f"{path}: not a {what} that can be read ({fault}). It is damaged or cut short: copy it again, or make it "
            "again."
        )


def _fault(archive: zipfile.ZipFile, size: int) -> str | None:
    """The first fault of an archive's records; None for none."""
    records = archive.infolist()
    if any(record.compress_type != zipfile.ZIP_STORED for record in records):
        return "its records are compressed, as torch.save never writes them"
    if sum(record.file_size for record in records) > size:
        return "its records are larger than the file"
    for record in records:
        with archive.open(record) as file:  # its end compares the checksum
            while file.read(BLOCK):
                pass
    return None
