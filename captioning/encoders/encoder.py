"""What every encoder is: bytes in, features out, frozen unless a stage is named.

Dimensions: B images, L regions (rows × columns), D grid features, P pooled features.
"""

import copy
import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from captioning.core.errors import CaptioningError
from captioning.core.features import Features, FeatureSpec
from captioning.core.images import ImageTransform

IMAGENET_MEAN = (0.485, 0.456, 0.406)  # of values in [0, 1], as torchvision's and most of timm's weights expect
IMAGENET_STD = (0.229, 0.224, 0.225)

Fit = Literal["squash", "crop"]


class Encoder(nn.Module, ABC):
    """A convolutional network without its classifier.

    It is always in evaluation mode, also while it is fine-tuned: BatchNorm uses the statistics of its pretraining and
    never moves them (a caption batch is small and its images repeat), dropout is off, so the same photograph gives the
    same features in training and in captioning. Fine-tuning does move BatchNorm's weights and biases.

    Attributes:
        spec: the sizes of the features.
        transform: what brings a picture to the encoder's input.
        stages: the names that ``finetune_from`` takes, from the input on.
        folds: whether a BatchNorm that a module lists after a convolution also follows it in the computation.
    """

    folds = True
    backbone: Any  # an nn.Module of torchvision or timm, whose parts have no types
    mean: Tensor
    std: Tensor

    def __init__(
        self,
        backbone: nn.Module,
        *,
        identity: Mapping[str, Any],
        stages: Mapping[str, Iterable[nn.Module]],
        finetune_from: str | None,
        image_size: int | Sequence[int],
        fit: Fit = "squash",
        mean: Sequence[float] = IMAGENET_MEAN,
        std: Sequence[float] = IMAGENET_STD,
    ) -> None:
        """Freeze ``backbone``, thaw what is to be fine-tuned, and measure the features.

        Args:
            backbone: the network, weights loaded.
            identity: what distinguishes this encoder from others with the same weights (its name, where it is cut).
            stages: the modules of each stage, from the input on.
            finetune_from: the first stage to train; None freezes all.
            image_size: (height, width) in pixels, or the side of a square.
            fit: how pictures of another shape are brought to ``image_size``.
            mean: of each channel, of values in [0, 1].
            std: likewise.

        Raises:
            CaptioningError: ``finetune_from`` is not one of ``stages``.
        """
        super().__init__()
        self.backbone = backbone.to(memory_format=torch.channels_last)
        self.identity = dict(identity)
        self.stages = tuple(stages)
        height, width = (image_size, image_size) if isinstance(image_size, int) else image_size
        self.transform = ImageTransform((height, width), fit)
        self.register_buffer("mean", 255 * torch.tensor(mean).view(3, 1, 1))
        self.register_buffer("std", 255 * torch.tensor(std).view(3, 1, 1))
        self.requires_grad_(False)
        self.eval()
        if finetune_from is not None:
            if finetune_from not in self.stages:
                raise CaptioningError(
                    f"encoder.finetune_from={finetune_from} is not a stage of {type(self).__name__}. Its stages, from "
                    f"the input on: {', '.join(self.stages)}; null keeps all of it frozen."
                )
            for stage in self.stages[self.stages.index(finetune_from) :]:
                for module in stages[stage]:
                    module.requires_grad_(True)
        self.spec = self._measure()

    @abstractmethod
    def encode(self, images: Tensor) -> Features:
        """Run the network.

        Args:
            images: normalised, ``(B, 3, height, width)``, channels-last in memory.

        Returns:
            The parts, of any names: a vector of each photograph ``(B, P)``, regions ``(B, L, D)`` (with ``lengths``
            where photographs have different numbers of them), or a map ``(B, D, rows, columns)``.
        """

    def forward(self, images: Tensor) -> Features:
        """Photographs to features.

        Args:
            images: uint8 ``(B, 3, height, width)``, as ``transform`` gives them, on the encoder's device.

        Returns:
            The parts that ``encode`` gives, a map's regions ``(B, L, D)`` in row-major order.
        """
        normalised = (images.to(self.mean.dtype) - self.mean) / self.std
        return self.encode(normalised.contiguous(memory_format=torch.channels_last)).map(_regions)

    @property
    def trainable(self) -> bool:
        """Whether any of it is fine-tuned; features of a trainable encoder must not be stored."""
        return any(parameter.requires_grad for parameter in self.parameters())

    def keep(self, parts: Collection[str]) -> None:
        """Freeze what these parts of the features do not depend on: training must not wait for gradients of it.

        Args:
            parts: that a decoder reads.

        Raises:
            CaptioningError: nothing is left to be fine-tuned.
        """
        tuned = [parameter for parameter in self.parameters() if parameter.requires_grad]
        if not tuned:
            return
        features = self(torch.zeros(1, 3, *self.transform.size, dtype=torch.uint8))
        read = sum((features[part].sum() for part in parts), torch.zeros(()))
        found = torch.autograd.grad(read, tuned, allow_unused=True) if read.requires_grad else [None] * len(tuned)
        for parameter, gradient in zip(tuned, found, strict=True):
            parameter.requires_grad_(gradient is not None)
        if not self.trainable:
            raise CaptioningError(
                "encoder.finetune_from names a stage behind the features that the decoder reads "
                f"({', '.join(parts) or 'none'}): name an earlier one of {', '.join(self.stages)}, or null."
            )

    def fingerprint(self) -> str:
        """A hash of the class, the identity and every weight: two encoders that agree in it give the same features."""
        digest = hashlib.sha256(json.dumps([type(self).__name__, self.identity], sort_keys=True).encode())
        for name, tensor in self.state_dict().items():
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
            digest.update(tensor.cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
        return digest.hexdigest()

    def fused(self) -> "Encoder":
        """A copy for inference alone, each BatchNorm folded into the convolution before it.

        The same features but for rounding, at about 1.7 times the rate on a CPU (EfficientNet-Lite0), where BatchNorm
        is bound by memory. The copy's state dict has other names: never save it.
        """
        encoder = copy.deepcopy(self).requires_grad_(False)
        if self.folds:
            for module in encoder.backbone.modules():
                for (first, conv), (second, norm) in pairwise(list(module.named_children())):
                    if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                        setattr(module, first, fuse_conv_bn_eval(conv, norm))
                        setattr(module, second, nn.Identity())
            encoder.backbone.to(memory_format=torch.channels_last)
        return encoder

    def train(self, mode: bool = True) -> "Encoder":
        """Stay in evaluation mode (see the class)."""
        return super().train(False)

    @torch.no_grad()
    def _measure(self) -> FeatureSpec:
        """The sizes of the features of one black image: right for every network and every image size."""
        normalised = torch.zeros(1, 3, *self.transform.size)
        features = self.encode(normalised.contiguous(memory_format=torch.channels_last))
        return FeatureSpec(features.lengths.keys(), **{name: _shape(part) for name, part in features.items()})


def _regions(part: Tensor) -> Tensor:
    """A map ``(B, D, rows, columns)`` as ``(B, L, D)``; what is no map as it is."""
    return part.flatten(2).transpose(1, 2) if part.dim() == 4 else part


def _shape(part: Tensor) -> tuple[int, ...]:
    """The shape of a part of one photograph; of a map ``(rows, columns, D)``."""
    shape = tuple(part.shape[1:])
    return (*shape[1:], shape[0]) if len(shape) == 3 else shape
