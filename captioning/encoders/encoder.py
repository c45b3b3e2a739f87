"""The base class of encoders: from bytes to features, frozen unless a stage is named.

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

ROUNDING = 1e-3  # fraction of the largest value by which folding a BatchNorm may change features

Fit = Literal["squash", "crop"]


class Encoder(nn.Module, ABC):
    """A network from images to features, without its classifier; a subclass need define ``encode`` alone.

    The ``__init__`` of a subclass sets the values that ``encode`` needs, and then calls this class's with the network,
    which measures the features.

    An encoder is always in evaluation mode, also in fine-tuning: BatchNorm uses the statistics of the pretraining and
    never changes them (a caption batch is small and its images repeat), dropout is off, so an image has the same
    features in training and in captioning. Fine-tuning does change BatchNorm's weights and biases.

    Attributes:
        spec: the shapes of the features.
        transform: the transform from an image to the encoder's input.
        stages: the names that ``finetune_from`` accepts, from the input on.
        earlier: the prefixes of the weights' names, to their prefixes in an earlier version of the class, see
            ``renamed``.
    """

    earlier: Mapping[str, str] = {}
    backbone: Any  # an nn.Module of torchvision or timm, whose parts have no types
    mean: Tensor
    std: Tensor

    def __new__(cls, *args: Any, **settings: Any) -> "Encoder":
        """Keep the settings of the new encoder, for its identity."""
        self = super().__new__(cls)
        with suppress(TypeError):  # a copy has no settings; ``__init__`` raises an error for wrong ones
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
        """Freeze ``backbone`` but for the stages to fine-tune, and measure the features.

        Args:
            backbone: the network with its weights; several networks in an ``nn.ModuleDict``; None for no network.
            identity: values that distinguish this encoder from others with the same weights (its name, its last stage);
                None for all settings of the class.
            stages: the modules of each stage, from the input on; None for the backbone's own parts.
            finetune_from: the first stage to train; None freezes all.
            image_size: (height, width) in pixels, or the side of a square.
            fit: how images of another shape are resized to ``image_size``.
            mean: the mean of each channel, of values in [0, 1].
            std: the standard deviation of each channel, likewise.
            most: the largest number of an image's regions, by the names of parts with lengths; for a part that is not
                named, the number to which ``encode`` pads an image's regions.

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
            images: normalised images ``(B, 3, height, width)``, channels-last in memory.

        Returns:
            The parts, of any names: a vector per image ``(B, P)``, regions ``(B, L, D)``, or a map
            ``(B, D, rows, columns)``. If images differ in their numbers of regions,
            ``Features({"objects": lengths}, objects=…)``: each image has at least one region, its regions come first,
            and L may differ between batches.
        """

    def forward(self, images: Tensor) -> Features:
        """The features of images.

        Args:
            images: uint8 ``(B, 3, height, width)``, outputs of ``transform``, on the encoder's device.

        Returns:
            The parts that ``encode`` returns, with a map as its regions ``(B, L, D)`` in row-major order.

        Raises:
            CaptioningError: an image has no region.
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
        """The outputs of ``encode`` for uint8 ``(B, 3, height, width)``."""
        normalised = (images.to(self.mean.dtype) - self.mean) / self.std
        return self.encode(normalised.contiguous(memory_format=torch.channels_last))

    def picture(self) -> Tensor:
        """An image of all grey levels, ``(1, 3, height, width)``: the same for every encoder with this input size."""
        height, width = self.transform.size
        levels = torch.arange(3 * height * width, device=self.mean.device).remainder(256).to(torch.uint8)
        return levels.view(1, 3, height, width)

    @property
    def trainable(self) -> bool:
        """True if any parameter is fine-tuned; features of a trainable encoder must not be stored."""
        return any(parameter.requires_grad for parameter in self.parameters())

    def keep(self, parts: Collection[str]) -> None:
        """Freeze the parameters that some parts of the features do not depend on, since they get no gradient.

        ``keep`` encodes one image to find these parameters. A parameter that matters for some images alone (of a
        detector's head, when objects are found) is frozen if it does not matter for this image.

        Args:
            parts: the names of the parts that a decoder needs.

        Raises:
            CaptioningError: the encoder has no such part, or nothing is left to be fine-tuned.
        """
        tuned = [parameter for parameter in self.parameters() if parameter.requires_grad]
        if not tuned:
            return
        read = torch.zeros((), device=self.mean.device)
        if parts:
            features = self._raw(self.picture())
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
        """A hash of the class, the identity and every weight: encoders with equal fingerprints have the same features.

        The hash uses the weights' names of the earlier version, so that feature stores of that version stay valid.
        """
        described = json.dumps([type(self).__name__, self.identity], sort_keys=True, default=str)
        digest = hashlib.sha256(described.encode())
        for name, tensor in self.state_dict().items():
            digest.update(f"{self._earlier_name(name)} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
            digest.update(tensor.cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
        return digest.hexdigest()

    def renamed(self, weights: Mapping[str, Tensor], prefix: str = "") -> dict[str, Tensor]:
        """Weights under the names of this version, if they have the names of an earlier version.

        Args:
            weights: the weights by name, with those of other modules.
            prefix: the prefix of this encoder's names (``"encoder."``).
        """
        table = {prefix + self._earlier_name(name): prefix + name for name in self.state_dict()}
        if not all(name in weights for name in table):
            return dict(weights)
        return {table.get(name, name): tensor for name, tensor in weights.items()}

    def _earlier_name(self, name: str) -> str:
        """The name of a weight in an earlier version of the class."""
        for now, then in self.earlier.items():
            if name.startswith(f"{now}."):
                return then + name[len(now) :]
        return name

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        """Load weights of an earlier version, too: torch calls this method for a module before the module's parts."""
        if self.earlier:
            renamed = self.renamed(state_dict, prefix)
            state_dict.clear()
            state_dict.update(renamed)
        super()._load_from_state_dict(state_dict, prefix, *rest)

    def fused(self) -> "Encoder":
        """A copy for inference alone, each BatchNorm folded into the convolution before it.

        The copy computes the same features but for rounding, at about 1.7 times the rate on a CPU (EfficientNet-Lite0),
        where BatchNorm is bound by memory. A BatchNorm that a module lists after a convolution need not follow the
        convolution in the computation: so both encoders encode one image, and if the features differ, nothing is
        folded. The copy's state dict has other names: never save it.
        """
        fused = copy.deepcopy(self).requires_grad_(False)
        for module in fused.backbone.modules():
            for (first, conv), (second, norm) in pairwise(list(module.named_children())):
                if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                    setattr(module, first, fuse_conv_bn_eval(conv, norm))
                    setattr(module, second, getattr(norm, "act", nn.Identity()))  # timm's contain an activation
        fused.backbone.to(memory_format=torch.channels_last)
        with torch.inference_mode():
            picture = self.picture()
            same = alike(fused._raw(picture), self._raw(picture))
        return fused if same else copy.deepcopy(self).requires_grad_(False)

    def train(self, mode: bool = True) -> "Encoder":
        """Stay in evaluation mode (see the class)."""
        return super().train(False)

    @torch.no_grad()
    def _measure(self, most: Mapping[str, int]) -> FeatureSpec:
        """The shapes of the features of one image, measured for any network and any image size."""
        features = self._raw(self.picture())
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


def earlier_stages(chosen: Sequence[str], stages: Sequence[str], last_stage: str) -> list[str]:
    """Some stages before the last one, in the network's order.

    Args:
        chosen: the names of the stages that ``encoder.more_stages`` lists.
        stages: all stages that have a map, from the input on.
        last_stage: the stage after which the network is cut.

    Raises:
        CaptioningError: a name is none of a stage before ``last_stage``.
    """
    earlier = stages[: stages.index(last_stage)]
    if isinstance(chosen, str) or not set(chosen) <= set(earlier):
        raise CaptioningError(
            f"encoder.more_stages={chosen} is not a list of stages before encoder.last_stage={last_stage}. Those are: "
            f"{', '.join(earlier) or 'none'}."
        )
    return [stage for stage in earlier if stage in chosen]


def _regions(part: Tensor) -> Tensor:
    """A map ``(B, D, rows, columns)`` as ``(B, L, D)``; other parts unchanged."""
    return part.flatten(2).transpose(1, 2) if part.dim() == 4 else part


def _shape(part: Tensor) -> tuple[int, ...]:
    """The shape of a part of one image; ``(rows, columns, D)`` for a map."""
    shape = tuple(part.shape[1:])
    return (*shape[1:], shape[0]) if len(shape) == 3 else shape


def alike(some: Features, others: Features) -> bool:
    """True if features are equal but for rounding."""
    return all(
        some[part].shape == other.shape and bool((some[part] - other).abs().max() <= ROUNDING * other.abs().max())
        for part, other in others.items()
        if other.numel()
    )
