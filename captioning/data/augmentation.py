"""Random changes of training photographs: their part, side and colours, for an encoder that is fine-tuned.

The seed, the epoch and the photograph alone determine the changes. The number of workers, the rank and an interruption
of the run do not change them.
"""

import re
from collections.abc import Sequence

import numpy as np
from PIL import Image
from torch import Tensor
from torchvision.transforms.v2 import functional

from captioning.core.errors import CaptioningError
from captioning.core.images import ImageTransform

STREAM = 1  # tells these random numbers from those that choose a photograph's captions


class Augmentation:
    """Random changes that leave a photograph's captions true.

    A part is never so small that it loses what the captions name, a photograph of which a caption names a side is never
    mirrored, and hues stay as they are, since captions name colours.
    """

    def __init__(
        self,
        smallest: float = 0.6,
        stretch: float = 1.2,
        mirror: float = 0.5,
        sides: Sequence[str] = ("left", "right"),
        brightness: float = 0.2,
        contrast: float = 0.2,
        saturation: float = 0.2,
    ) -> None:
        """Take the strengths.

        Args:
            smallest: the smallest area of a random part, as a fraction of the photograph's area; 1 for all of it.
            stretch: the largest factor by which a part is wider or higher than the photograph's shape; 1 for parts of
                its shape.
            mirror: the probability of the mirror image.
            sides: the words that a mirror image makes false; a photograph is not mirrored if one is in its captions.
            brightness: the largest change of the brightness, as a fraction; 0 for none.
            contrast: the largest change of the contrast, likewise.
            saturation: the largest change of the saturation, likewise.

        Raises:
            CaptioningError: a value is out of its range.
        """
        ranges = {"smallest": (smallest, 0.01, 1), "mirror": (mirror, 0, 1), "stretch": (stretch, 1, 10)}
        ranges |= {"brightness": (brightness, 0, 1), "contrast": (contrast, 0, 1), "saturation": (saturation, 0, 1)}
        for name, (value, least, most) in ranges.items():
            if not least <= value <= most:
                raise CaptioningError(f"augmentation.{name}={value}: take a number from {least} to {most}.")
        self.smallest, self.stretch, self.mirror = smallest, stretch, mirror
        self.sides = frozenset(word.lower() for word in sides)
        self.colours = (brightness, contrast, saturation)

    def __call__(
        self, image: Image.Image, captions: Sequence[str], transform: ImageTransform, seed: Sequence[int]
    ) -> Tensor:
        """The encoder's input from a photograph, changed.

        Args:
            image: the photograph, RGB.
            captions: the photograph's captions.
            transform: the encoder's transform.
            seed: non-negative numbers that determine the changes.

        Returns:
            uint8, of the shape that ``transform`` gives.
        """
        random = np.random.default_rng([*seed, STREAM])
        image = image.crop(self.part(image.size, random))
        if random.random() < self.mirror and not self.names_a_side(captions):
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        pixels = transform(image)
        changes = (functional.adjust_brightness, functional.adjust_contrast, functional.adjust_saturation)
        for change, most in zip(changes, self.colours, strict=True):
            factor = random.uniform(1 - most, 1 + most)
            pixels = change(pixels, factor) if most else pixels
        return pixels

    def part(self, size: tuple[int, int], random: np.random.Generator) -> tuple[int, int, int, int]:
        """A random part of a photograph: left, top, right and bottom edge in pixels.

        Its area is uniform between the smallest and the whole, the logarithm of its stretch uniform, its place uniform.

        Args:
            size: (width, height) of the photograph.
            random: the random numbers.
        """
        area, stretch = random.uniform(self.smallest, 1), self.stretch ** random.uniform(-1, 1)
        shares = min(1, (area * stretch) ** 0.5), min(1, (area / stretch) ** 0.5)
        width, height = (max(1, round(side * share)) for side, share in zip(size, shares, strict=True))
        left, top = random.integers(size[0] - width + 1), random.integers(size[1] - height + 1)
        return int(left), int(top), int(left) + width, int(top) + height

    def names_a_side(self, captions: Sequence[str]) -> bool:
        """True if a caption has one of the words that a mirror image makes false."""
        return any(not self.sides.isdisjoint(re.findall(r"\w+", caption.lower())) for caption in captions)
