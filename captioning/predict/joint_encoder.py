"""Several encoders as one, for an ensemble of captioners with different encoders.

Dimensions: B images, N pixels of all encoders' inputs.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from PIL import Image
from torch import Tensor, nn

from captioning.core.features import Features, FeatureSpec
from captioning.core.images import ImageTransform
from captioning.encoders import Encoder


def prefixed(number: int, part: str = "") -> str:
    """The name of a part of the encoder with that number: ``"1.grid"``."""
    return f"{number}.{part}"


@dataclass(frozen=True)
class JointTransform(ImageTransform):
    """The transform from an image to the inputs of several encoders, one behind the other.

    Attributes:
        size: the size of the transform whose part of an image ``seen`` returns.
        fit: the fit of that transform.
        transforms: the transforms of the encoders.
    """

    transforms: tuple[ImageTransform, ...] = ()

    def __call__(self, image: Image.Image) -> Tensor:
        """An RGB image as uint8 ``(3, 1, N)``: the pixels of each encoder's input, row after row."""
        return torch.cat([transform(image).flatten(1) for transform in self.transforms], dim=1).unsqueeze(1)


class JointEncoder(Encoder):
    """Several encoders, each run once per image; the parts of encoder 1 are called ``1.grid``, ``1.pooled``."""

    def __init__(self, encoders: Sequence[Encoder], seen: ImageTransform | None = None) -> None:
        """Take the encoders.

        Args:
            encoders: different encoders on one device.
            seen: the transform whose part of an image attention maps cover; None for the first encoder's.
        """
        nn.Module.__init__(self)
        self.encoders = nn.ModuleList(encoders)
        seen = seen or encoders[0].transform
        self.transform = JointTransform(seen.size, seen.fit, tuple(encoder.transform for encoder in encoders))
        self.identity = {"encoders": [encoder.identity for encoder in encoders]}
        self.stages = ()
        specs = [encoder.spec for encoder in encoders]
        shapes = {prefixed(n, part): shape for n, spec in enumerate(specs) for part, shape in spec.items()}
        self.spec = FeatureSpec([prefixed(n, part) for n, spec in enumerate(specs) for part in spec.varying], **shapes)
        self.eval()

    def encode(self, images: Tensor) -> Features:
        """The same as ``forward``: each encoder normalises its own input."""
        return self.forward(images)

    def forward(self, images: Tensor) -> Features:
        """The features of images.

        Args:
            images: uint8 ``(B, 3, 1, N)``, outputs of ``transform``, on the encoders' device.

        Returns:
            The parts of all encoders, each name with its encoder's number before it.
        """
        parts: dict[str, Tensor] = {}
        lengths: dict[str, Tensor] = {}
        sizes = [encoder.transform.size for encoder in self.members()]
        pieces = torch.split(images, [height * width for height, width in sizes], dim=3)
        for number, (encoder, piece, size) in enumerate(zip(self.members(), pieces, sizes, strict=True)):
            features: Features = encoder(piece.reshape(*piece.shape[:2], *size))
            parts |= {prefixed(number, part): values for part, values in features.items()}
            lengths |= {prefixed(number, part): values for part, values in features.lengths.items()}
        return Features(lengths, **parts)

    def fingerprint(self) -> str:
        """A hash of the encoders' fingerprints, in their order."""
        return hashlib.sha256(" ".join(encoder.fingerprint() for encoder in self.members()).encode()).hexdigest()

    def fused(self) -> "JointEncoder":
        """A copy for inference alone, see ``Encoder.fused``."""
        fused = JointEncoder([encoder.fused() for encoder in self.members()])
        fused.transform = self.transform
        return fused

    def members(self) -> list[Encoder]:
        """The encoders, in the order of their numbers."""
        return [encoder for encoder in self.encoders if isinstance(encoder, Encoder)]


def distinct(encoders: Sequence[Encoder]) -> tuple[list[Encoder], list[int]]:
    """The encoders that differ in their features, and the index among them of each given encoder.

    Encoders are equal if their class, settings and weights (``Encoder.fingerprint``) and their transforms are equal.
    """
    keys = [(encoder.fingerprint(), encoder.transform) for encoder in encoders]
    places = {key: number for number, key in enumerate(dict.fromkeys(keys))}
    return [encoders[keys.index(key)] for key in places], [places[key] for key in keys]
