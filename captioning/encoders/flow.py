"""Optical flow: the motion from each of a clip's frames to the next, as a picture that an encoder of photographs reads.

Venugopalan et al., "Sequence to Sequence -- Video to Text" (ICCV 2015), section 3.3: the flow's two components, centred
on 128, are two channels of a picture, and its magnitude is the third. Their network for flow was trained on the actions
of UCF101; an encoder trained on photographs sees pictures that it was not made for. Predictions from frames and from
flow are fused late: ``captioning evaluate RGB FLOW --weights 0.7,0.3``.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from captioning.core.clips import FrameChoice, each_frame
from captioning.core.errors import CaptioningError
from captioning.encoders.encoder import Encoder
from captioning.encoders.frames import ClipTransform, Frames

Method = Literal["farneback", "dis"]
METHODS: tuple[Method, ...] = ("farneback", "dis")
STILL = 128  # the byte that says "does not move"


@dataclass(frozen=True)
class FlowTransform(ClipTransform):
    """The transform from a clip to pictures of its optical flow.

    The bytes of a pixel are ``128 + scale · x``, ``128 + scale · y`` and ``128 + scale · √(x² + y²)``, for its motion
    (x, y) in pixels from a frame to the next, cut to 0 … 255.

    Attributes:
        method: OpenCV's ``farneback`` (Farnebäck 2003) or ``dis`` (Kroeger et al. 2016).
        scale: the bytes of a pixel of motion.
    """

    method: Method = "farneback"
    scale: float = 16.0

    def __call__(self, image: Image.Image) -> Tensor:
        """Refuse a still picture.

        Raises:
            CaptioningError: always.
        """
        raise CaptioningError("Optical flow is between two frames, and this is one picture. Give a clip.")

    def read(self, path: str | os.PathLike[str], content: bytes | None = None) -> Tensor:
        """The flow of the clip at ``path``, from each chosen frame to the next frame (of the last frame: to it).

        Raises:
            CaptioningError: the clip has one frame, OpenCV is not installed, or see ``each_frame``.
        """
        pairs: list[tuple[int, int]] = []

        def choose(count: int) -> list[int]:
            if count < 2:
                raise CaptioningError(f"{path}: optical flow is between two frames, and this clip has one.")
            pairs[:] = [(min(each, count - 2), min(each, count - 2) + 1) for each in self.choice(count)]
            return sorted({number for pair in pairs for number in pair})

        frames = [self.of(frame) for frame in each_frame(path, choose, content)]
        if not pairs:
            choose(len(frames))
        numbers = sorted({number for pair in pairs for number in pair})
        inputs = dict(zip(numbers, frames, strict=False))
        there = [pair for pair in pairs if pair[1] in inputs]
        return self.pack([flow_picture(inputs[a], inputs[b], self.method, self.scale) for a, b in there])


def flow_picture(first: Tensor, second: Tensor, method: Method = "farneback", scale: float = 16.0) -> Tensor:
    """The optical flow from one frame to another, as a picture, see ``FlowTransform``.

    Args:
        first: uint8 ``(3, height, width)``.
        second: the same.
        method: see ``FlowTransform``.
        scale: see ``FlowTransform``.

    Returns:
        uint8 ``(3, height, width)``.

    Raises:
        CaptioningError: OpenCV is not installed.
    """
    try:
        import cv2
    except ImportError as error:
        raise CaptioningError(
            'Optical flow is computed by OpenCV, which is not installed: pip install "captioning[video]"'
        ) from error
    opencv: Any = cv2  # its types lack some functions
    opencv.setNumThreads(1)
    greys = [
        opencv.cvtColor(np.ascontiguousarray(frame.permute(1, 2, 0).numpy()), opencv.COLOR_RGB2GRAY)
        for frame in (first, second)
    ]
    if method == "farneback":
        flow = opencv.calcOpticalFlowFarneback(*greys, None, 0.5, 3, 15, 3, 5, 1.2, 0)
    else:
        flow = opencv.DISOpticalFlow_create(opencv.DISOPTICAL_FLOW_PRESET_MEDIUM).calc(*greys, None)
    size = np.sqrt((flow**2).sum(-1, keepdims=True))
    bytes_ = (STILL + scale * np.concatenate([flow, size], axis=-1)).round().clip(0, 255).astype(np.uint8)
    return torch.from_numpy(bytes_).permute(2, 0, 1)


class Flow(Frames):
    """An encoder of photographs, run on pictures of a clip's optical flow."""

    def __init__(
        self,
        encoders: Mapping[str, Encoder],
        frames: int = 16,
        every: int | None = None,
        part: str = "pooled",
        shuffle: bool = False,
        method: Method = "farneback",
        scale: float = 16.0,
    ) -> None:
        """Take the encoder of photographs; ``method`` and ``scale`` are those of ``FlowTransform``.

        Raises:
            CaptioningError: there is no such method, or see ``Frames``.
        """
        if method not in METHODS:
            raise CaptioningError(f"encoder.method={method}: take one of {', '.join(METHODS)}.")
        self.__dict__["flow"] = (method, scale)
        super().__init__(encoders, frames, every, part, shuffle)

    def _transform(self, choice: FrameChoice, shuffle: bool) -> FlowTransform:
        of, (method, scale) = self.of.transform, self.__dict__["flow"]
        return FlowTransform(of.size, of.fit, of, choice, shuffle, method, scale)
