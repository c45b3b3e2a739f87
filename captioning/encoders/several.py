"""Several encoders beside each other: for a decoder of all their features, and for ensembles of captioners.

Dimensions: B images, N pixels of all encoders' inputs.
"""

import hashlib
import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import torch
from PIL import Image
from torch import Tensor, nn

from captioning.core.errors import CaptioningError
from captioning.core.features import Features, FeatureSpec, check_part_name
from captioning.core.images import ImageTransform
from captioning.encoders.encoder import Encoder


def prefixed(name: str, part: str = "") -> str:
    """The name of a part of the encoder with that name: ``"first_grid"``."""
    return f"{name}_{part}"


@dataclass(frozen=True)
class JointTransform(ImageTransform):
    """The transform from an image to the inputs of several encoders, one behind the other.

    Attributes:
        size: the size of the transform whose part of an image ``seen`` returns.
        fit: the fit of that transform.
        transforms: the transforms of the encoders.
    """

    transforms: tuple[ImageTransform, ...] = ()

    @property
    def shape(self) -> tuple[int, int]:
        """(1, N)."""
        return 1, sum(rows * columns for rows, columns in (transform.shape for transform in self.transforms))

    def __call__(self, image: Image.Image) -> Tensor:
        """An RGB image as uint8 ``(3, 1, N)``: the pixels of each encoder's input, row after row."""
        return torch.cat([transform(image).flatten(1) for transform in self.transforms], dim=1).unsqueeze(1)

    def read(self, path: str | os.PathLike[str], content: bytes | None = None) -> Tensor:
        """The image or clip at ``path`` as ``(3, 1, N)``; a photograph is decoded once for all encoders."""
        if all(type(transform).read is ImageTransform.read for transform in self.transforms):
            return super().read(path, content)
        pixels = [transform.read(path, content).flatten(1) for transform in self.transforms]
        return torch.cat(pixels, dim=1).unsqueeze(1)


class Several(Encoder):
    """Several encoders, each run once per image.

    The parts of the encoder ``first`` are called ``first_grid``, ``first_pooled``.

    A part that all encoders have in the same layout (``pooled``; ``grid``, if the maps have equally many rows and
    columns) is also there under its own name, the numbers of all encoders side by side: any decoder reads the pair of
    two encoders as it reads one.
    """

    def __init__(
        self, encoders: Mapping[str, Encoder], joined: bool = True, seen: ImageTransform | None = None
    ) -> None:
        """Take the encoders.

        Args:
            encoders: the encoders by name, on one device; each has its own weights, image size and stages to train.
            joined: True for the parts side by side, too.
            seen: the transform whose part of an image attention maps cover; None if all encoders see the same part.

        Raises:
            CaptioningError: there is no encoder, a name can't be a folder's, two parts would have the same name, or,
                without ``seen``, the encoders see different parts of an image.
        """
        self.__dict__.pop("_settings", {})
        nn.Module.__init__(self)
        if not encoders:
            raise CaptioningError("encoder.encoders is empty: name one encoder or more.")
        members = dict(encoders)
        for name in members:
            check_part_name(name)
        transforms = [encoder.transform for encoder in members.values()]
        if seen is None and len({transform.area for transform in transforms}) > 1:
            raise CaptioningError(
                f"The encoders {', '.join(members)} see different parts of a photograph, and their regions must lie in "
                "the same places. Give all of them encoder.encoders.NAME.fit=squash, or sizes of one shape."
            )
        self.encoders = nn.ModuleDict(members)
        seen = seen or transforms[0]
        self.transform = JointTransform(seen.size, seen.fit, tuple(transforms))
        self.identity = {"encoders": {name: encoder.identity for name, encoder in members.items()}}
        self.stages = ()
        self.joined = _in_common([encoder.spec for encoder in members.values()]) if joined else {}
        self.spec = self._spec()
        self.eval()

    def _spec(self) -> FeatureSpec:
        specs = {name: encoder.spec for name, encoder in self.members().items()}
        named = [(prefixed(name, part), shape) for name, spec in specs.items() for part, shape in spec.items()]
        shapes = {**self.joined, **dict(named)}
        if len(shapes) < len(named) + len(self.joined):
            raise CaptioningError(
                f"Two parts of the features of the encoders {', '.join(specs)} would have the same name. Rename an "
                "encoder: encoder.encoders.NAME."
            )
        return FeatureSpec([prefixed(name, part) for name, spec in specs.items() for part in spec.varying], **shapes)

    def encode(self, images: Tensor) -> Features:
        """The same as ``forward``: each encoder normalises its own input."""
        return self.forward(images)

    def forward(self, images: Tensor) -> Features:
        """The features of images.

        Args:
            images: uint8 ``(B, 3, 1, N)``, outputs of ``transform``, on the encoders' device.

        Returns:
            The parts of all encoders, each name with its encoder's name before it, and the parts side by side.
        """
        found: dict[str, Features] = {}
        shapes = [encoder.transform.shape for encoder in self.members().values()]
        pieces = torch.split(images, [rows * columns for rows, columns in shapes], dim=3)
        for (name, encoder), piece, shape in zip(self.members().items(), pieces, shapes, strict=True):
            found[name] = encoder(piece.reshape(*piece.shape[:2], *shape))
        parts = {prefixed(name, part): values for name, each in found.items() for part, values in each.items()}
        lengths = {prefixed(name, part): n for name, each in found.items() for part, n in each.lengths.items()}
        parts |= {part: torch.cat([each[part] for each in found.values()], dim=-1) for part in self.joined}
        return Features(lengths, **parts)

    def picture(self) -> Tensor:
        """The pictures of all encoders' input sizes, see ``Encoder.picture``."""
        return torch.cat([encoder.picture().flatten(2) for encoder in self.members().values()], dim=2).unsqueeze(2)

    def keep(self, parts: Collection[str]) -> None:
        """Freeze the parameters that some parts do not depend on, see ``Encoder.keep``."""
        for part in parts:
            self.spec[part]  # raises for an unknown part
        for name, encoder in self.members().items():
            joined = self.joined.keys() & set(parts)
            encoder.keep([part for part in encoder.spec if prefixed(name, part) in parts or part in joined])

    def fingerprint(self) -> str:
        """A hash of the encoders' names and fingerprints, in their order."""
        told = " ".join(f"{name} {encoder.fingerprint()}" for name, encoder in self.members().items())
        return hashlib.sha256(told.encode()).hexdigest()

    def fused(self) -> "Several":
        """A copy for inference alone, see ``Encoder.fused``."""
        members = {name: encoder.fused() for name, encoder in self.members().items()}
        fused = Several(members, joined=bool(self.joined), seen=self.transform)
        fused.transform = self.transform
        return fused

    def members(self) -> dict[str, Encoder]:
        """The encoders by name."""
        return {name: encoder for name, encoder in self.encoders.items() if isinstance(encoder, Encoder)}


def _in_common(specs: Sequence[FeatureSpec]) -> dict[str, tuple[int, ...]]:
    """The shapes, side by side, of the parts that all encoders have in the same layout."""
    first = specs[0]
    return {
        part: (*first[part][:-1], sum(spec.size(part) for spec in specs))
        for part in first
        if all(part in spec and part not in spec.varying and spec[part][:-1] == first[part][:-1] for spec in specs)
    }


def distinct(encoders: Sequence[Encoder]) -> tuple[list[Encoder], list[int]]:
    """The encoders that differ in their features, and the index among them of each given encoder.

    Encoders are equal if their class, settings and weights (``Encoder.fingerprint``) and their transforms are equal.
    """
    keys = [(encoder.fingerprint(), encoder.transform) for encoder in encoders]
    places = {key: number for number, key in enumerate(dict.fromkeys(keys))}
    return [encoders[keys.index(key)] for key in places], [places[key] for key in keys]
