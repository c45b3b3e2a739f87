"""What every encoder is: bytes in, features out, frozen unless a stage is named.

Dimensions: B images, L regions (of a map rows × columns), D numbers of a region, P pooled features.
"""

import copy
import hashlib
import inspect
import json
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from itertools import pairwise
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from captioning.core.errors import CaptioningError
from captioning.core.features import Features, FeatureSpec, check_part_name
from captioning.core.images import ImageTransform

IMAGENET_MEAN = (0.485, 0.456, 0.406)  # of values in [0, 1], as torchvision's and most of timm's weights expect
IMAGENET_STD = (0.229, 0.224, 0.225)

ROUNDING = 1e-3  # of the largest value: what folding a BatchNorm may change

Fit = Literal["squash", "crop"]


class Encoder(nn.Module, ABC):
    """A network that looks at photographs, without its classifier; ``encode`` is all that a subclass must have.

    Where a subclass has an ``__init__``, it sets the values that ``encode`` reads, and then calls this class's with the
    network: the features are measured there.

    It is always in evaluation mode, also while it is fine-tuned: BatchNorm uses the statistics of its pretraining and
    never moves them (a caption batch is small and its images repeat), dropout is off, so the same photograph gives the
    same features in training and in captioning. Fine-tuning does move BatchNorm's weights and biases.

    Attributes:
        spec: the shapes of the features.
        transform: what brings a picture to the encoder's input.
        stages: the names that ``finetune_from`` takes, from the input on.
        earlier: the beginnings of the weights' names to what an earlier version of the class called them, see
            ``renamed``.
    """

    earlier: Mapping[str, str] = {}
    backbone: Any  # an nn.Module of torchvision or timm, whose parts have no types
    mean: Tensor
    std: Tensor

    def __new__(cls, *args: Any, **settings: Any) -> "Encoder":
        """Keep the settings that a class is made with, for its identity."""
        self = super().__new__(cls)
        with suppress(TypeError):  # a copy is made without settings; if they are wrong, ``__init__`` raises
            given = inspect.signature(cls.__init__).bind(self, *args, **settings)
            given.apply_defaults()
            self.__dict__["_settings"] = {name: value for name, value in given.arguments.items() if value is not self}
        return self

    def __init__(
        self,
        backbone: nn.Module | None = None,
        *,
        identity: Mapping[str, Any] | None = None,
        stages: Mapping[str, Iterable[nn.Module]] | None = None,
        finetune_from: str | None = None,
        image_size: int | Sequence[int] = 224,
        fit: Fit = "squash",
        mean: Sequence[float] = IMAGENET_MEAN,
        std: Sequence[float] = IMAGENET_STD,
        most: Mapping[str, int] | None = None,
    ) -> None:
        """Freeze ``backbone``, thaw what is to be fine-tuned, and measure the features.

        Args:
            backbone: the network, weights loaded; several of them in an ``nn.ModuleDict``; None where there is none.
            identity: what distinguishes this encoder from others with the same weights (its name, where it is cut);
                None for all settings that the class was made with.
            stages: the modules of each stage, from the input on; None for the backbone's own parts.
            finetune_from: the first stage to train; None freezes all.
            image_size: (height, width) in pixels, or the side of a square.
            fit: how pictures of another shape are brought to ``image_size``.
            mean: of each channel, of values in [0, 1].
            std: likewise.
            most: of the parts that have lengths, the number of regions that no photograph exceeds; of a part that is
                not named, the number that ``encode`` pads a picture's regions to.

        Raises:
            CaptioningError: ``finetune_from`` is not one of ``stages``; a part's name can't be a folder's.
        """
        settings = self.__dict__.pop("_settings", {})
        super().__init__()
        backbone = nn.Identity() if backbone is None else backbone
        self.backbone = backbone.to(memory_format=torch.channels_last)
        self.identity = dict(settings if identity is None else identity)
        if stages is None:
            stages = {name: [module] for name, module in backbone.named_children()}
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
                    f"the input on: {', '.join(self.stages) or 'none'}; null keeps all of it frozen."
                )
            for stage in self.stages[self.stages.index(finetune_from) :]:
                for module in stages[stage]:
                    module.requires_grad_(True)
        self.spec = self._measure(most or {})

    @abstractmethod
    def encode(self, images: Tensor) -> Features:
        """Run the network.

        Args:
            images: normalised, ``(B, 3, height, width)``, channels-last in memory.

        Returns:
            The parts, of any names: a vector of each photograph ``(B, P)``, regions ``(B, L, D)``, or a map
            ``(B, D, rows, columns)``. Where photographs have different numbers of regions, ``Features({"objects":
            lengths}, objects=…)``: each photograph has one region at least, the first ones, and L may be another in
            each batch.
        """

    def forward(self, images: Tensor) -> Features:
        """Photographs to features.

        Args:
            images: uint8 ``(B, 3, height, width)``, as ``transform`` gives them, on the encoder's device.

        Returns:
            The parts that ``encode`` gives, a map's regions ``(B, L, D)`` in row-major order.

        Raises:
            CaptioningError: a photograph has no region.
        """
        features = self._raw(images).map(_regions)
        for part, lengths in features.lengths.items():
            if len(lengths) and not bool((lengths >= 1).all()):
                raise CaptioningError(
                    f"{type(self).__name__} finds no region in a photograph for its {part} features, and attention "
                    "needs one at least. Let encode give such a photograph one region, for example all of it."
                )
        return features

    def _raw(self, images: Tensor) -> Features:
        """What ``encode`` gives for uint8 ``(B, 3, height, width)``."""
        normalised = (images.to(self.mean.dtype) - self.mean) / self.std
        return self.encode(normalised.contiguous(memory_format=torch.channels_last))

    def _picture(self) -> Tensor:
        """A picture of all grey levels, ``(1, 3, height, width)``: the same for every encoder of its size."""
        height, width = self.transform.size
        levels = torch.arange(3 * height * width, device=self.mean.device).remainder(256).to(torch.uint8)
        return levels.view(1, 3, height, width)

    @property
    def trainable(self) -> bool:
        """Whether any of it is fine-tuned; features of a trainable encoder must not be stored."""
        return any(parameter.requires_grad for parameter in self.parameters())

    def keep(self, parts: Collection[str]) -> None:
        """Freeze what these parts of the features do not depend on: training must not wait for gradients of it.

        One picture is encoded to find out. What an encoder computes for some pictures alone (a detector's head, where
        no object is found) counts as what the features do not depend on, if it does not for this one.

        Args:
            parts: that a decoder reads.

        Raises:
            CaptioningError: the encoder has no such part, or nothing is left to be fine-tuned.
        """
        tuned = [parameter for parameter in self.parameters() if parameter.requires_grad]
        if not tuned:
            return
        read = torch.zeros((), device=self.mean.device)
        if parts:
            features = self._raw(self._picture())
            read = sum((features[part].sum() for part in parts if self.spec[part]), read)
        found = torch.autograd.grad(read, tuned, allow_unused=True) if read.requires_grad else [None] * len(tuned)
        for parameter, gradient in zip(tuned, found, strict=True):
            parameter.requires_grad_(gradient is not None)
        if not self.trainable:
            raise CaptioningError(
                "encoder.finetune_from names a stage behind the features that the decoder reads "
                f"({', '.join(parts) or 'none'}): name an earlier one of {', '.join(self.stages)}, or null."
            )

    def fingerprint(self) -> str:
        """A hash of the class, the identity and every weight: two encoders that agree in it give the same features.

        The weights have the names in it that an earlier version gave them: its stores of features stay valid.
        """
        described = json.dumps([type(self).__name__, self.identity], sort_keys=True, default=str)
        digest = hashlib.sha256(described.encode())
        for name, tensor in self.state_dict().items():
            digest.update(f"{self._earlier_name(name)} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
            digest.update(tensor.cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
        return digest.hexdigest()

    def renamed(self, weights: Mapping[str, Tensor], prefix: str = "") -> dict[str, Tensor]:
        """Weights under the names of this version, where they have those of an earlier one.

        Args:
            weights: by name, other modules' among them.
            prefix: what stands before the names of this encoder's own (``"encoder."``).
        """
        table = {prefix + self._earlier_name(name): prefix + name for name in self.state_dict()}
        if not all(name in weights for name in table):
            return dict(weights)
        return {table.get(name, name): tensor for name, tensor in weights.items()}

    def _earlier_name(self, name: str) -> str:
        """What an earlier version of the class called a weight."""
        for now, then in self.earlier.items():
            if name.startswith(f"{now}."):
                return then + name[len(now) :]
        return name

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        """Load weights of an earlier version, too: torch calls this for each module before those that it is made of."""
        if self.earlier:
            renamed = self.renamed(state_dict, prefix)
            state_dict.clear()
            state_dict.update(renamed)
        super()._load_from_state_dict(state_dict, prefix, *rest)

    def fused(self) -> "Encoder":
        """A copy for inference alone, each BatchNorm folded into the convolution before it.

        The same features but for rounding, at about 1.7 times the rate on a CPU (EfficientNet-Lite0), where BatchNorm
        is bound by memory. A BatchNorm that a module lists after a convolution need not follow it in the computation:
        so one picture is encoded by both, and where the copy's features are others, nothing is folded. The copy's state
        dict has other names: never save it.
        """
        fused = copy.deepcopy(self).requires_grad_(False)
        for module in fused.backbone.modules():
            for (first, conv), (second, norm) in pairwise(list(module.named_children())):
                if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                    setattr(module, first, fuse_conv_bn_eval(conv, norm))
                    setattr(module, second, getattr(norm, "act", nn.Identity()))  # timm's have their activation inside
        fused.backbone.to(memory_format=torch.channels_last)
        with torch.inference_mode():
            picture = self._picture()
            alike = _alike(fused._raw(picture), self._raw(picture))
        return fused if alike else copy.deepcopy(self).requires_grad_(False)

    def train(self, mode: bool = True) -> "Encoder":
        """Stay in evaluation mode (see the class)."""
        return super().train(False)

    @torch.no_grad()
    def _measure(self, most: Mapping[str, int]) -> FeatureSpec:
        """The shapes of the features of one picture: right for every network and every image size."""
        features = self._raw(self._picture())
        shapes = {name: _shape(part) for name, part in features.items()}
        shapes |= {part: (most.get(part, max(shapes[part][0], 1)), *shapes[part][1:]) for part in features.lengths}
        for part in shapes:
            check_part_name(part)
        odd = most.keys() - features.lengths.keys()
        if odd:
            raise CaptioningError(
                f"most={dict(most)}: encode of {type(self).__name__} gives no lengths of {', '.join(sorted(odd))}. "
                "Return Features({part: lengths}, …), or leave it out of most."
            )
        return FeatureSpec(features.lengths.keys(), **shapes)


def _regions(part: Tensor) -> Tensor:
    """A map ``(B, D, rows, columns)`` as ``(B, L, D)``; what is no map as it is."""
    return part.flatten(2).transpose(1, 2) if part.dim() == 4 else part


def _shape(part: Tensor) -> tuple[int, ...]:
    """The shape of a part of one photograph; of a map ``(rows, columns, D)``."""
    shape = tuple(part.shape[1:])
    return (*shape[1:], shape[0]) if len(shape) == 3 else shape


def _alike(some: Features, others: Features) -> bool:
    """Whether features are the same but for rounding."""
    return all(
        some[part].shape == other.shape and bool((some[part] - other).abs().max() <= ROUNDING * other.abs().max())
        for part, other in others.items()
        if other.numel()
    )
