"""Images: reading them, and transforming them to an encoder's input."""

import logging
import os
import stat
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from io import BytesIO
from pathlib import Path
from threading import Lock, local
from typing import IO, Any, Literal

import numpy as np
import torch
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError
from torch import Tensor
from torch.nn import functional as F

from captioning.core.errors import CaptioningError
from captioning.core.greys import is_deep, to_eight_bits
from captioning.core.regular import require_regular

log = logging.getLogger(__name__)

SUFFIXES = frozenset(
    {
        *(".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".jp2", ".j2k", ".j2c", ".jpc", ".jpf", ".jpx"),
        *(".png", ".apng", ".bmp", ".dib", ".gif", ".tif", ".tiff", ".webp", ".avif", ".avifs", ".heic", ".heif"),
        *(".ppm", ".pgm", ".pbm", ".pnm", ".pfm", ".tga", ".ico", ".icns", ".pcx", ".psd", ".qoi", ".sgi", ".dds"),
    }
)
COMMON = ("JPEG", "PNG", "GIF", "BMP", "PPM")  # the formats that Pillow knows without importing all its plugins
HIDDEN = frozenset({".DS_Store", "Thumbs.db", "desktop.ini"})
REFUSED = frozenset({"BUFR", "EPS", "FITS", "GRIB", "HDF5", "MPEG", "WMF"})  # no photographs; EPS runs a program
SIGNATURES = (b"\xff\xd8\xff", b"\x89PNG", b"GIF8", b"BM", b"II*\0", b"MM\0*")  # the first bytes of pictures
BRANDS = (b"ftypavif", b"ftypavis", b"ftypheic", b"ftypheix", b"ftypmif1", b"jP  \r\n\x87\n")  # after four bytes
STILL = (b"avi", b"hei", b"hev", b"mif", b"msf", b"M4A", b"M4B")  # brands of pictures and of sound alone
VIDEOS = (b"\x1aE\xdf\xa3", b"FLV\x01", b"\0\0\x01\xba", b"\0\0\x01\xb3", b"0&\xb2u\x8ef\xcf\x11")  # Matroska, …, WMV

WHOLE = 2**26  # pixels that are decoded as they are (67 million); larger photographs are read at a fraction
MOST, MOST_IN_PARTS = 2**27, 2**28  # pixels of the largest photograph; of a JPEG that is decoded at a fraction

_unlimited = Lock()
_here = local()  # .path: the picture that a thread reads
_show_warning = warnings.showwarning


def read_image(path: str | os.PathLike[str], content: bytes | None = None) -> Image.Image:
    """Read an image file as RGB.

    The camera's EXIF orientation is applied; grey, palette, CMYK and 16-bit images become RGB; transparent pixels are
    laid over white. A photograph of more than ``WHOLE`` pixels is read at a half, a quarter or an eighth of its size.

    Args:
        path: the file.
        content: the file's bytes, if they have been read already.

    Returns:
        An RGB image.

    Raises:
        CaptioningError: the file is missing, no regular file, not an image, cut short, or too large.
    """
    with usable(path):
        if content is None:
            require_regular(path, "picture")
        # An open file, not its path: Pillow 13 maps an uncompressed TIFF of a path into memory and turns it wrongly.
        with Path(path).open("rb") if content is None else BytesIO(content) as file, open_image(file) as image:
            divisor = _divisor(image, path)
            if divisor > 1:
                image.draft(None, (image.width // divisor, image.height // divisor))  # a JPEG is decoded at this size
            image.load()
            if divisor > 1 and (is_deep(image) or image.width * image.height > WHOLE):
                return to_rgb(_reduced(image, divisor), path)
            return to_rgb(image, path)


def size_of(path: str | os.PathLike[str], content: bytes) -> tuple[int, int]:
    """(width, height) of an image file in pixels, without decoding it.

    Args:
        path: the file's name, for messages.
        content: the file's bytes.

    Raises:
        CaptioningError: this is not an image that can be read.
    """
    with usable(path), open_image(BytesIO(content)) as image:
        return image.size


@contextmanager
def usable(path: object) -> Iterator[None]:
    """Turn whatever is raised in the block into a sentence about one picture: decoders raise anything.

    Raises:
        CaptioningError: the block has raised an exception.
    """
    if warnings.showwarning is _show_warning:
        warnings.showwarning = _show_with_name
    before, _here.path = getattr(_here, "path", None), path
    try:
        yield
    except CaptioningError:
        raise
    except FileNotFoundError:
        raise CaptioningError(f"{path}: there is no such picture. Check the path.") from None
    except VideoError:
        raise CaptioningError(
            f"{path}: this is a video, and photographs are read here. Take a photograph, or a captioner of clips "
            "(encoder=frames, docs/video.md)."
        ) from None
    except UnidentifiedImageError:
        raise CaptioningError(f"{path}: this is not a picture that can be read. Save it as JPEG or PNG.") from None
    except MemoryError as error:
        raise CaptioningError(f"{path}: the picture does not fit in memory. Make it smaller.") from error
    except Exception as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise CaptioningError(
                f"{path}: the picture can't be read ({error.strerror}). Check the path and its permissions."
            ) from error
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise CaptioningError(
            f"{path}: the picture can't be read ({reason}). It may be cut short or damaged: fetch it again."
        ) from error
    finally:
        _here.path = before


def _show_with_name(message: Warning | str, *arguments: Any, **settings: Any) -> None:
    """Show a warning of a decoder with the name of the picture that this thread reads."""
    path = getattr(_here, "path", None)
    if path is None:
        _show_warning(message, *arguments, **settings)
    else:
        log.warning("%s: %s", path, " ".join(str(message).split()))


def open_image(file: IO[bytes]) -> Image.Image:
    """Open an image of any size, without decoding it; the readers have limits in place of Pillow's own."""
    with _unlimited:
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            return Image.open(file, formats=COMMON)
        except UnidentifiedImageError:
            Image.init()
            try:
                return Image.open(file, formats=[each for each in Image.ID if each not in (*COMMON, *REFUSED)])
            except UnidentifiedImageError:
                file.seek(0)
                if is_video(file.read(12)):
                    raise VideoError from None
                raise
        finally:
            Image.MAX_IMAGE_PIXELS = limit


class VideoError(UnidentifiedImageError):
    """A file is a video by its first bytes, and no picture."""


def is_video(first: bytes) -> bool:
    """True for a video (MP4, QuickTime, Matroska, WebM, AVI, FLV, MPEG, WMV) by the first 12 bytes of its file."""
    kind, brand = first[4:8], first[8:12]
    if kind == b"ftyp":
        return not brand.startswith(STILL)
    return kind in (b"moov", b"mdat", b"wide") or brand == b"AVI " or first.startswith(VIDEOS)


def _divisor(image: Image.Image, path: object) -> int:
    """The divisor of width and height at which an opened image is read: 1, 2, 4 or 8.

    Raises:
        CaptioningError: the image has too many pixels.
    """
    pixels = image.width * image.height
    weight = 2 if is_deep(image) else 1  # deep grey is scaled in floating point
    # A progressive JPEG is decoded whole before it is made smaller.
    in_parts = image.format in ("JPEG", "MPO") and not image.info.get("progressive")
    require_size(image, path, MOST_IN_PARTS if in_parts else MOST)
    return next(divisor for divisor in (1, 2, 4, 8) if weight * pixels <= WHOLE * divisor**2)


def require_size(image: Any, path: object, most: int | None = None) -> None:
    """Check the ``width`` and ``height`` of an image, or of a video, before it is decoded.

    Raises:
        CaptioningError: it has more than ``most`` (``MOST``) pixels.
    """
    pixels = image.width * image.height
    if pixels > (most or MOST):
        raise CaptioningError(
            f"{path}: {image.width} × {image.height} pixels are too many to read ({pixels / 1e6:.0f} million). "
            f"Make the picture smaller: up to {MOST / 1e6:.0f} million pixels are read."
        )


def _reduced(image: Image.Image, divisor: int) -> Image.Image:
    """A decoded image at a fraction of its width and height, with its orientation."""
    orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
    if is_deep(image):
        small = image.resize((-(-image.width // divisor), -(-image.height // divisor)), Image.Resampling.NEAREST)
    else:
        mixed = "transparency" in image.info or image.mode in ("1", "P", "PA")  # values that have no mean
        small = (image.convert("RGBA") if mixed else image).reduce(divisor)
    small.info = {}
    small.getexif()[ExifTags.Base.Orientation] = orientation
    return small


def to_rgb(image: Image.Image, name: object = "a picture") -> Image.Image:
    """An image in RGB, upright; an upright RGB image is returned as it is.

    The EXIF orientation is applied, deep grey is scaled to 8 bits (see ``captioning.core.greys``), transparency is laid
    over white.

    Args:
        image: the image, which is not changed.
        name: the file's path, for messages.
    """
    image.load()
    if image.getexif().get(ExifTags.Base.Orientation, 1) != 1:  # a copy of an upright image takes time
        image = ImageOps.exif_transpose(image)
    if is_deep(image):
        image = to_eight_bits(image, name)
    if image.mode == "La":
        image = image.convert("LA")  # Pillow converts La to nothing else
    if image.mode in ("RGBA", "LA", "PA", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")


@dataclass(frozen=True)
class ImageTransform:
    """The transform from an image to the encoder's input, the same in training, evaluation and captioning.

    A float-versus-byte difference between training and inference is the classical cause of "the same caption for every
    image"; here one path ends in bytes, and the encoder normalises the bytes on its own device.

    Attributes:
        size: (height, width) in pixels.
        fit: ``"squash"`` resizes both sides to ``size``; ``"crop"`` cuts out the largest centred part of that shape,
            and resizes the part.
    """

    size: tuple[int, int] = (224, 224)
    fit: Literal["squash", "crop"] = "squash"

    def __call__(self, image: Image.Image) -> Tensor:
        """An RGB image as uint8 ``(3, height, width)``, channels-last in memory.

        Torch resizes it bicubically with antialiasing, in a fifth of Pillow's time.
        """
        left, top, right, bottom = self.seen(image.size)
        pixels = torch.from_numpy(np.array(image)).unsqueeze(0)  # (1, height, width, 3)
        pixels = pixels[:, top:bottom, left:right].permute(0, 3, 1, 2)
        if pixels.shape[2:] != self.size:
            pixels = F.interpolate(pixels, self.size, mode="bicubic", antialias=True)
        return pixels[0]

    def seen(self, size: tuple[int, int]) -> tuple[int, int, int, int]:
        """The part of an image that reaches the encoder, in whole pixels.

        Args:
            size: (width, height) of the image.

        Returns:
            Left, top, right and bottom edge in pixels of the image.
        """
        width, height = size
        if self.fit == "squash":
            return 0, 0, width, height
        aspect = self.size[1] / self.size[0]
        columns = max(1, round(min(width, height * aspect)))
        rows = max(1, round(min(height, width / aspect)))
        left, top = (width - columns) // 2, (height - rows) // 2
        return left, top, left + columns, top + rows

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, columns) of the transformed image."""
        return self.size

    @property
    def area(self) -> tuple[str, float]:
        """A key of the part of an image that reaches the encoder: transforms of equal keys see the same part."""
        height, width = self.size
        return self.fit, 0.0 if self.fit == "squash" else height / width

    def read(self, path: str | os.PathLike[str], content: bytes | None = None) -> Tensor:
        """The image at ``path`` as uint8 ``(3, height, width)``, see ``read_image``."""
        with usable(path):
            return self(read_image(path, content))

    def to_dict(self) -> dict[str, Any]:
        """The settings as plain values, for a checkpoint or a store's key."""
        return {**asdict(self), "size": list(self.size)}


def stack(images: Sequence[Tensor]) -> Tensor:
    """A batch ``(B, 3, height, width)`` of images ``(3, height, width)``, channels-last in memory."""
    return torch.stack([image.permute(1, 2, 0) for image in images]).permute(0, 3, 1, 2)


def find_images(folder: str | os.PathLike[str]) -> list[Path]:
    """The images in a folder and below it, sorted by path, see ``walk_images``."""
    return sorted(walk_images(folder))


def walk_images(folder: str | os.PathLike[str]) -> Iterator[Path]:
    """The images in a folder and below it, folder by folder, in an order of their names that is always the same.

    Linked folders are followed, each folder is read once. A file is an image by its suffix, or, without a suffix, by
    its first bytes. At the end one warning counts and names the files that are left out, and another the folders that
    can't be read. Memory holds the names of one folder at a time.
    """
    left_out, closed = _Counted("file"), _Counted("folder")
    waiting, seen = [Path(folder)], set()
    while waiting:
        links: list[Path] = []
        for top in waiting:
            for parent, folders, files in os.walk(top, onerror=lambda error: closed.add(str(error.filename))):
                place = Path(parent)
                status = place.stat()
                if (status.st_dev, status.st_ino) in seen:
                    folders.clear()
                    continue
                seen.add((status.st_dev, status.st_ino))
                folders.sort()
                links += [place / name for name in folders if (place / name).is_symlink()]
                for name in sorted(files):
                    if name in HIDDEN or name.startswith("._"):  # macOS's and Windows's own
                        continue
                    if _is_image(place / name):
                        yield place / name
                    else:
                        left_out.add(str(place / name))
        waiting = links  # after the folders themselves, so that pictures keep their own paths
    if left_out.count:
        log.warning("%s: %s left out, no pictures by their names: %s.", folder, left_out, left_out.names)
    if closed.count:
        log.warning("%s: %s can't be opened, so their pictures are left out: %s.", folder, closed, closed.names)


def _is_image(path: Path) -> bool:
    """True for an image by its suffix or, without a suffix, by its first bytes."""
    if path.suffix:
        return path.suffix.lower() in SUFFIXES
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            return False
        with path.open("rb") as file:
            first = file.read(12)
    except OSError:
        return False
    return first.startswith(SIGNATURES) or first[4:].startswith(BRANDS) or first[::8] == b"RW"


class _Counted:
    """A number of files with the first ten of their names, for a message."""

    def __init__(self, what: str) -> None:
        self.what, self.count, self.first = what, 0, list[str]()

    def add(self, name: str) -> None:
        self.count += 1
        if self.count <= 10:
            self.first.append(name)

    def __str__(self) -> str:
        return f"{self.count} {self.what}{'' if self.count == 1 else 's'}"

    @property
    def names(self) -> str:
        return ", ".join(sorted(self.first)) + (", …" if self.count > 10 else "")
