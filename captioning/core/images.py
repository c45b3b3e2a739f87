"""Images: reading them, and transforming them to an encoder's input."""

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor
from torch.nn import functional as F

from captioning.core.errors import CaptioningError

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm"})


def read_image(path: str | os.PathLike[str], content: bytes | None = None) -> Image.Image:
    """Read an image file as RGB.

    The camera's EXIF orientation is applied; grey, palette, CMYK and 16-bit images become RGB; transparent pixels are
    laid over white.

    Args:
        path: the file.
        content: the file's bytes, if they have been read already.

    Returns:
        An RGB image.

    Raises:
        CaptioningError: the file is missing, not an image, or cut short.
    """
    try:
        with Image.open(path if content is None else BytesIO(content)) as image:
            image.load()
            ImageOps.exif_transpose(image, in_place=True)  # copying an upright image takes a tenth of the reading
    except FileNotFoundError:
        raise CaptioningError(f"{path}: there is no such picture. Check the path.") from None
    except UnidentifiedImageError:
        raise CaptioningError(f"{path}: this is not a picture that can be read. Save it as JPEG or PNG.") from None
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise CaptioningError(
            f"{path}: the picture can't be read ({error}). It may be cut short or damaged: fetch it again."
        ) from error
    return to_rgb(image)


def to_rgb(image: Image.Image) -> Image.Image:
    """An image in RGB: 16-bit grey is scaled to 8 bits, transparency is laid over white; RGB is returned as it is."""
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        values = np.asarray(image, dtype=np.float64)
        if image.mode.startswith("I;16") or values.max(initial=0.0) > 255:  # wider modes hold 8 or 16 bits
            values = values / 257.0
        image = Image.fromarray(values.clip(0, 255).astype(np.uint8))
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
        return self(read_image(path, content))

    def to_dict(self) -> dict[str, Any]:
        """The settings as plain values, for a checkpoint or a store's key."""
        return {**asdict(self), "size": list(self.size)}


def stack(images: Sequence[Tensor]) -> Tensor:
    """A batch ``(B, 3, height, width)`` of images ``(3, height, width)``, channels-last in memory."""
    return torch.stack([image.permute(1, 2, 0) for image in images]).permute(0, 3, 1, 2)


def find_images(folder: str | os.PathLike[str]) -> list[Path]:
    """The images in a folder and below it, by suffix, sorted by path."""
    return sorted(path for path in Path(folder).rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
