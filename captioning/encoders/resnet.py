"""ResNet: He, Zhang, Ren and Sun, "Deep Residual Learning for Image Recognition", arXiv:1512.03385."""

from collections.abc import Sequence
from typing import Any

import torchvision
from torch import Tensor

from captioning.core.errors import CaptioningError
from captioning.core.features import Features
from captioning.encoders.encoder import Encoder, Fit, earlier_stages
from captioning.encoders.weights import build, torchvision_state

NAMES = ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152")
STAGES = ("conv1", "layer1", "layer2", "layer3", "layer4")


class ResNet(Encoder):
    """torchvision's ResNet: ``grid`` is the map of the last stage, ``pooled`` its mean.

    For 224×224, ``layer4`` has a map of 7×7 and ``layer3`` a map of 14×14 with half the channels.
    """

    def __init__(
        self,
        name: str = "resnet50",
        weights: str | None = "IMAGENET1K_V1",
        image_size: int | Sequence[int] = 224,
        fit: Fit = "squash",
        last_stage: str = "layer4",
        more_stages: Sequence[str] = (),
        finetune_from: str | None = None,
    ) -> None:
        """Build the network.

        Args:
            name: ``resnet18``, ``resnet34``, ``resnet50``, ``resnet101`` or ``resnet152``.
            weights: torchvision's name of the weights (downloaded on first use), the path of a state dict in
                torchvision's names (weights behind ``last_stage`` may be absent), or None for random weights.
            image_size: (height, width) in pixels, or the side of a square.
            fit: how images of another shape are resized to ``image_size``.
            last_stage: the stage after which the network is cut: ``layer1`` … ``layer4``.
            more_stages: earlier stages, whose maps are further parts of the features; a part is called after its stage.
            finetune_from: the first stage to train (``conv1``, ``layer1`` … ``layer4``); None freezes all.

        Raises:
            CaptioningError: an unknown name or stage; the weights can't be read or are not this network's.
        """
        if name not in NAMES:
            raise CaptioningError(f"encoder.name={name} is not a ResNet of torchvision. There are: {', '.join(NAMES)}.")
        if last_stage not in STAGES[1:]:
            raise CaptioningError(f"encoder.last_stage={last_stage} is not one of {', '.join(STAGES[1:])}.")
        self.more_stages = earlier_stages(more_stages, STAGES[1:], last_stage)
        kept = STAGES[: STAGES.index(last_stage) + 1]
        cut = ("fc", *STAGES[len(kept) :])

        def make() -> Any:
            network: Any = torchvision.models.get_model(name)
            for part in cut:
                delattr(network, part)
            return network

        state = None if weights is None else torchvision_state(name, weights)
        backbone: Any = build(make, state, weights, cut=tuple(f"{part}." for part in cut))
        stages = {stage: [getattr(backbone, stage)] for stage in kept}
        more = {"more_stages": self.more_stages} if self.more_stages else {}
        stages["conv1"].append(backbone.bn1)
        super().__init__(
            backbone,
            identity={"name": name, "last_stage": last_stage, **more},
            stages=stages,
            finetune_from=finetune_from,
            image_size=image_size,
            fit=fit,
        )

    def encode(self, images: Tensor) -> Features:
        """See ``Encoder.encode``."""
        network = self.backbone
        maps: Tensor = network.maxpool(network.relu(network.bn1(network.conv1(images))))
        parts = {}
        for stage in self.stages[1:]:
            maps = getattr(network, stage)(maps)
            if stage in self.more_stages:
                parts[stage] = maps
        return Features(pooled=maps.mean((2, 3)), grid=maps, **parts)
