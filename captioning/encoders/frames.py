"""The frames of a clip, each by an encoder of photographs: Venugopalan et al. 2015 (S2VT), Yao et al. 2015.

A decoder finds the frames as it finds a photograph's regions: ``frames`` are attended to (Yao et al., "Describing
Videos by Exploiting Temporal Structure", ICCV 2015) or read one after the other (Venugopalan et al., "Sequence to
Sequence -- Video to Text", ICCV 2015), and ``pooled``, their mean, stands for the whole clip (Venugopalan et al.,
"Translating Videos to Natural Language Using Deep Recurrent Neural Networks", NAACL 2015, which is mean pooling).

Dimensions: B clips, T frames, P numbers of a frame, N pixels of a clip.
"""

import copy
import hashlib
import json
import os
import zlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from captioning.core.clips import FrameChoice, each_frame
from captioning.core.errors import CaptioningError
from captioning.core.features import Features, FeatureSpec
from captioning.core.images import ImageTransform, usable
from captioning.encoders.encoder import Encoder

AT_ONCE = 32  # frames that the encoder is given at a time
BASE = 256  # the number of frames stands in the three bytes of a clip's last pixel


@dataclass(frozen=True)
class ClipTransform(ImageTransform):
    """The transform from a clip to the pixels of its frames, one frame behind the other, and their number.

    Attributes:
        size: the size of ``of``.
        fit: the fit of ``of``.
        of: the transform of each frame.
        choice: the frames that are read.
        shuffle: True for the frames in a random order, the same for equal frames: an ablation, which shows how much a
            captioner takes from the order.
    """

    of: ImageTransform = field(default_factory=ImageTransform)
    choice: FrameChoice = field(default_factory=FrameChoice)
    shuffle: bool = False

    @property
    def shape(self) -> tuple[int, int]:
        """(1, N)."""
        rows, columns = self.of.shape
        return 1, self.choice.frames * rows * columns + 1

    def __call__(self, image: Image.Image) -> Tensor:
        """A still picture as a clip of one frame, see ``pack``."""
        return self.pack([self.of(image)])

    def read(self, path: str | os.PathLike[str], content: bytes | None = None) -> Tensor:
        """The clip at ``path``, see ``pack`` and ``captioning.core.clips.each_frame``."""
        with usable(path):
            return self.pack([self.of(frame) for frame in each_frame(path, self.choice, content)])

    def pack(self, frames: list[Tensor]) -> Tensor:
        """T frames, uint8 ``(3, height, width)``, as uint8 ``(3, 1, N)``: the frames, zeros, and the number T."""
        if self.shuffle:
            frames = [frames[place] for place in order_of(frames)]
        packed = torch.zeros(3, *self.shape, dtype=torch.uint8)
        pixels = torch.cat([frame.flatten(1) for frame in frames], dim=1)
        packed[:, 0, : pixels.shape[1]] = pixels
        packed[:, 0, -1] = torch.tensor([len(frames) // BASE**place % BASE for place in range(3)])
        return packed

    def unpack(self, clips: Tensor) -> tuple[Tensor, Tensor]:
        """The frames of B clips as ``pack`` lays them: uint8 ``(B, T, 3, height, width)``, and their numbers ``(B,)``.

        T is the largest number of frames among the B clips.
        """
        digits = clips[:, :, 0, -1].long()  # (B, 3)
        counts = (digits * torch.tensor([1, BASE, BASE**2], device=clips.device)).sum(1)
        rows, columns = self.of.shape
        most = int(counts.max())
        frames = clips[:, :, 0, : most * rows * columns].reshape(len(clips), 3, most, rows, columns)
        return frames.transpose(1, 2), counts

    def frames_in(self, clip: Tensor) -> list[Image.Image]:
        """The frames of a clip as ``pack`` lays them, uint8 ``(3, 1, N)``, as pictures."""
        frames, counts = self.unpack(clip.unsqueeze(0))
        return [Image.fromarray(frame.permute(1, 2, 0).numpy()) for frame in frames[0, : int(counts)]]

    def frames_of(self, path: str | os.PathLike[str]) -> list[Image.Image]:
        """The frames of a clip as the encoder is given them, in its order and size, for pictures."""
        return self.frames_in(self.read(path))


def order_of(frames: list[Tensor]) -> list[int]:
    """A random order of frames, drawn from a seed that is a checksum of their pixels."""
    seed = 0
    for frame in frames:
        seed = zlib.crc32(np.ascontiguousarray(frame.numpy()).tobytes(), seed)
    order: list[int] = np.random.Generator(np.random.PCG64(seed)).permutation(len(frames)).tolist()
    return order


class Frames(Encoder):
    """An encoder of photographs, run on each of a clip's frames.

    The parts are ``frames (B, T, P)`` with lengths, and ``pooled (B, P)``, the mean of a clip's frames.
    """

    transform: ClipTransform

    def __init__(
        self,
        encoders: Mapping[str, Encoder],
        frames: int = 16,
        every: int | None = None,
        part: str = "pooled",
        shuffle: bool = False,
    ) -> None:
        """Take the encoder of photographs.

        Args:
            encoders: the encoder, under any name.
            frames: the largest number of a clip's frames, T.
            every: see ``FrameChoice``.
            part: the part of the encoder's features that is a frame's vector; of a part with regions all regions, one
                behind the other, so that the vector also says where things are.
            shuffle: see ``ClipTransform``.

        Raises:
            CaptioningError: there is not one encoder, it has no such part or one that varies, or ``frames`` or
                ``every`` is below 1.
        """
        self.__dict__.pop("_settings", {})
        nn.Module.__init__(self)
        if len(encoders) != 1:
            raise CaptioningError(
                f"encoder.encoders names {', '.join(encoders) or 'none'}: the frames of a clip are read by one encoder."
            )
        self.encoders = nn.ModuleDict(dict(encoders))
        of = self.of
        self.part, self.stages = part, of.stages
        if part in of.spec.varying:
            raise CaptioningError(f"encoder.part={part}: its length differs between pictures. Take another part.")
        self.size = int(np.prod(of.spec.stored(part)))  # raises for a part that is not there
        self.transform = self._transform(FrameChoice(frames, every), shuffle)
        self.identity = {"encoders": {name: each.identity for name, each in encoders.items()}, "part": part}
        self.spec = FeatureSpec(["frames"], frames=(frames, self.size), pooled=(self.size,))
        self.eval()

    def _transform(self, choice: FrameChoice, shuffle: bool) -> ClipTransform:
        transform = self.of.transform
        return ClipTransform(transform.size, transform.fit, transform, choice, shuffle)

    @property
    def of(self) -> Encoder:
        """The encoder of photographs."""
        (encoder,) = self.encoders.values()
        assert isinstance(encoder, Encoder)
        return encoder

    def encode(self, images: Tensor) -> Features:
        """The same as ``forward``: the encoder of photographs normalises its own input."""
        return self.forward(images)

    def forward(self, images: Tensor) -> Features:
        """The features of clips.

        Args:
            images: uint8 ``(B, 3, 1, N)``, outputs of ``transform``, on the encoder's device.

        Returns:
            The parts, see the class; a clip's frames have the same features in any batch.
        """
        frames, counts = self.transform.unpack(images)
        there = torch.arange(frames.shape[1], device=images.device) < counts.unsqueeze(1)  # (B, T)
        rows = frames.flatten(0, 1)[there.flatten()]  # no frame that is not there is encoded
        vectors = torch.cat([self.of(part)[self.part].flatten(1) for part in torch.split(rows, AT_ONCE)])
        places = there.flatten().nonzero().squeeze(1)
        padded = vectors.new_zeros(there.numel(), self.size).index_copy(0, places, vectors)
        features = Features({"frames": counts}, frames=padded.view(*there.shape, self.size))
        return Features(features.lengths, frames=features["frames"], pooled=features.mean("frames"))

    def picture(self) -> Tensor:
        """A clip of one frame of all grey levels, see ``Encoder.picture``."""
        frame = self.of.picture()
        return self.transform.pack([frame[0].cpu()]).unsqueeze(0).to(frame.device)

    def keep(self, parts: Collection[str]) -> None:
        """Freeze the parameters that the frames' vectors do not depend on, see ``Encoder.keep``."""
        for part in parts:
            self.spec[part]  # raises for an unknown part
        self.of.keep([self.part] if parts else [])

    def fingerprint(self) -> str:
        """A hash of the encoder's fingerprint and of the part that is read."""
        told = json.dumps([type(self).__name__, self.part, self.of.fingerprint()])
        return hashlib.sha256(told.encode()).hexdigest()

    def fused(self) -> "Frames":
        """A copy for inference alone, see ``Encoder.fused``."""
        fused = copy.deepcopy(self).requires_grad_(False)
        fused.encoders = nn.ModuleDict({name: self.of.fused() for name in self.encoders})
        return fused
