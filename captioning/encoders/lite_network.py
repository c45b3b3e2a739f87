"""The networks of EfficientNet-Lite0, Lite1 and Lite2, under timm's names of their parameters.

Tan and Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks", arXiv:1905.11946, Table 1, in
the variant for mobile devices: no squeeze-and-excitation, ReLU6 in place of swish, stem and head not scaled. The blocks
are those of Sandler et al., "MobileNetV2", arXiv:1801.04381.

timm has the same networks (``tf_efficientnet_lite0`` …), and a test compares both. They are here for the cold start:
importing timm, with its thousand models and its client of a hub, takes as long as all else that ``captioning caption``
does beyond importing torch and torchvision.
"""

import math
from collections import OrderedDict

from torch import Tensor, nn
from torch.nn import functional as F

STAGES = (  # expansion, kernel, stride, channels, blocks (the paper's Table 1)
    (1, 3, 1, 16, 1),
    (6, 3, 2, 24, 2),
    (6, 5, 2, 40, 2),
    (6, 3, 2, 80, 3),
    (6, 5, 1, 112, 3),
    (6, 5, 2, 192, 4),
    (6, 3, 1, 320, 1),
)
STEM, HEAD = 32, 1280  # channels
EPSILON = 1e-3  # TensorFlow's, of BatchNorm


class SameConv2d(nn.Conv2d):
    """A convolution with TensorFlow's padding "SAME": ``ceil(size / stride)`` rows; an odd pad is below and right."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> None:
        """Make a convolution without bias; with stride 1, "SAME" is the usual symmetric padding."""
        padding = kernel // 2 if stride == 1 else 0
        super().__init__(inputs, outputs, kernel, stride, padding=padding, groups=groups, bias=False)

    def reset_parameters(self) -> None:
        """Draw from a normal distribution of variance ``2 / fan_out``, as the authors do."""
        fan_out = self.kernel_size[0] * self.kernel_size[1] * self.out_channels // self.groups
        nn.init.normal_(self.weight, std=math.sqrt(2 / fan_out))

    def forward(self, input: Tensor) -> Tensor:
        """Convolve ``(B, D, rows, columns)``."""
        if self.stride[0] > 1:
            pads: list[int] = []
            for size in (input.shape[3], input.shape[2]):  # F.pad begins with the last dimension
                stride, kernel = self.stride[0], self.kernel_size[0]
                total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
                pads += [total // 2, total - total // 2]
            input = F.pad(input, pads)
        return super().forward(input)


class NormAct2d(nn.BatchNorm2d):
    """BatchNorm, and ReLU6 where a layer has one."""

    def __init__(self, channels: int, relu: bool = True) -> None:
        """Make a BatchNorm with TensorFlow's epsilon."""
        super().__init__(channels, eps=EPSILON)
        self.act = nn.ReLU6(inplace=True) if relu else nn.Identity()

    def forward(self, input: Tensor) -> Tensor:
        """Normalise ``(B, D, rows, columns)``."""
        normalised: Tensor = self.act(super().forward(input))
        return normalised


class Separable(nn.Module):
    """The block of the first stage: each channel is convolved alone, then all are mixed."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int) -> None:
        """Make the layers, under timm's names."""
        super().__init__()
        self.conv_dw, self.bn1 = SameConv2d(inputs, inputs, kernel, stride, groups=inputs), NormAct2d(inputs)
        self.conv_pw, self.bn2 = SameConv2d(inputs, outputs), NormAct2d(outputs, relu=False)

    def forward(self, maps: Tensor) -> Tensor:
        """``(B, inputs, rows, columns)`` to ``(B, outputs, rows / stride, columns / stride)``."""
        narrow: Tensor = self.bn2(self.conv_pw(self.bn1(self.conv_dw(maps))))
        return narrow


class InvertedResidual(nn.Module):
    """MBConv: widen, convolve each channel alone, narrow; the input is added where the shapes agree."""

    def __init__(self, inputs: int, outputs: int, expansion: int, kernel: int, stride: int) -> None:
        """Make the layers, under timm's names."""
        super().__init__()
        hidden = expansion * inputs
        self.residual = stride == 1 and inputs == outputs
        self.conv_pw, self.bn1 = SameConv2d(inputs, hidden), NormAct2d(hidden)
        self.conv_dw, self.bn2 = SameConv2d(hidden, hidden, kernel, stride, groups=hidden), NormAct2d(hidden)
        self.conv_pwl, self.bn3 = SameConv2d(hidden, outputs), NormAct2d(outputs, relu=False)

    def forward(self, maps: Tensor) -> Tensor:
        """``(B, inputs, rows, columns)`` to ``(B, outputs, rows / stride, columns / stride)``."""
        narrow: Tensor = self.bn3(self.conv_pwl(self.bn2(self.conv_dw(self.bn1(self.conv_pw(maps))))))
        return maps + narrow if self.residual else narrow


def lite_network(width: float = 1.0, depth: float = 1.0) -> nn.Sequential:
    """Stem, seven stages and head; an image of 224×224 becomes a map of 1280×7×7.

    Args:
        width: the factor of the stages' channels.
        depth: the factor of the stages' numbers of blocks, but for the first and the last.
    """
    stages: OrderedDict[str, nn.Module] = OrderedDict(stem=nn.Sequential(SameConv2d(3, STEM, 3, 2), NormAct2d(STEM)))
    inputs = STEM
    for number, (expansion, kernel, stride, channels, blocks) in enumerate(STAGES, start=1):
        outputs = scaled(channels, width)
        count = blocks if number in (1, len(STAGES)) else math.ceil(blocks * depth)
        made: list[nn.Module] = []
        for place in range(count):
            step = stride if place == 0 else 1
            made.append(
                Separable(inputs, outputs, kernel, step)
                if expansion == 1
                else InvertedResidual(inputs, outputs, expansion, kernel, step)
            )
            inputs = outputs
        stages[f"stage{number}"] = nn.Sequential(*made)
    stages["head"] = nn.Sequential(SameConv2d(inputs, HEAD), NormAct2d(HEAD))
    return nn.Sequential(stages)


def scaled(channels: int, width: float) -> int:
    """A multiple of 8 near ``channels · width``, at most a tenth below it."""
    wide = channels * width
    multiple = max(8, int(wide + 4) // 8 * 8)
    return multiple + 8 if multiple < 0.9 * wide else multiple
