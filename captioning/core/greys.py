"""Grey images of more than 8 bits: scaled to 8 bits by the values that they hold."""

import logging

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from captioning.core.errors import CaptioningError

log = logging.getLogger(__name__)

TOPS = (1.0, 255.0, 1023.0, 4095.0, 16383.0, 65535.0)  # white, as a fraction or in 8, 10, 12, 14 and 16 bits
LEAST = 1 / 4  # the least part of a range that a picture fills; other values are stretched


def is_deep(image: Image.Image) -> bool:
    """True for a grey image of 16 bits, 32 bits or floating point."""
    return image.mode in ("I", "F") or image.mode.startswith("I;16")


def to_eight_bits(image: Image.Image, name: object = "a picture") -> Image.Image:
    """A grey image of 16 bits, 32 bits or floating point in 8 bits.

    The file's type does not say which value is white: cameras and scanners store 12 bits in 16, programs store
    fractions as floating point. White is the least of ``TOPS`` that holds the greatest value. If the values fill less
    than a quarter of that range, are negative or are greater than 65535, black is the least value and white the
    greatest. If all values are equal, nothing can be told from the values, and the type's own range counts.

    Args:
        image: a grey image, see ``is_deep``.
        name: the file's path, for messages.

    Raises:
        CaptioningError: no value is a finite number.
    """
    values = np.asarray(image, dtype=np.float32)
    finite = np.isfinite(values)
    if not finite.any():
        raise CaptioningError(f"{name}: no value of the picture is a finite number. Save it again as JPEG or PNG.")
    if not finite.all():
        log.warning("%s: %d values are no finite numbers and are taken as black.", name, values.size - finite.sum())
    low, high = float(values[finite].min()), float(values[finite].max())
    values = np.where(finite, values, min(low, 0.0))
    if low == high:
        log.warning("%s: the picture has one value, %g, everywhere.", name, low)
        black, white = 0.0, _nominal(image.mode, high)
    else:
        black, white = _range(low, high)
    return Image.fromarray(_scaled(values, black, white))


def _nominal(mode: str, value: float) -> float:
    """The white of a mode."""
    if mode.startswith("I;16"):
        return 65535.0
    return next((top for top in TOPS if value <= top and (top > 1 or mode == "F")), 65535.0)


def _range(low: float, high: float) -> tuple[float, float]:
    """Black and white of values between ``low`` and ``high``."""
    top = next((top for top in TOPS if high <= top), None)
    if low < 0 or top is None or high < LEAST * top:
        return low, high
    return 0.0, top


def _scaled(values: NDArray[np.float32], black: float, white: float) -> NDArray[np.uint8]:
    half = np.array(0.5)  # halves: the difference of two finite numbers may be infinite
    fractions = (values * half - black * half) / (white * half - black * half)
    bytes_of: NDArray[np.uint8] = np.rint(fractions.clip(0, 1) * 255).astype(np.uint8)
    return bytes_of
