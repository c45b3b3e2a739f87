"""VGG: Simonyan and Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition", arXiv:1409.1556.

Two of its layers became the field's features: the second fully connected layer, 4096 numbers after its ReLU ("fc7":
NeuralTalk, "Deep Visual-Semantic Alignments", arXiv:1412.2306), and the map of the last convolution before its
max-pooling, 14×14×512 ("Show, Attend and Tell", arXiv:1502.03044).
"""

from collections.abc import Sequence
from typing import Any

import torchvision
from torch import Tensor, nn

from captioning.core.errors import CaptioningError
from captioning.core.features import Features
from captioning.encoders.encoder import Encoder, Fit
from captioning.encoders.weights import build, torchvision_state

NAMES = ("vgg11", "vgg11_bn", "vgg16", "vgg16_bn", "vgg19", "vgg19_bn")


class VGG(Encoder):
    """torchvision's VGG: ``pooled`` is fc7 after its ReLU (P = 4096), ``grid`` the map of the last convolution.

    FC-1000 and the softmax are cut off. ``grid`` is taken after the last ReLU and before the last max-pooling: for
    224×224, 14×14 regions of 512.
    """

    def __init__(
        self,
        name: str = "vgg16",
        weights: str | None = "IMAGENET1K_V1",
        image_size: int | Sequence[int] = 224,
        fit: Fit = "squash",
        finetune_from: str | None = None,
    ) -> None:
        """Build the network.

        Args:
            name: ``vgg11``, ``vgg16`` or ``vgg19``, with ``_bn`` for batch norm.
            weights: torchvision's name of the weights (downloaded on first use), the path of a state dict in
                torchvision's names, or None for random weights.
            image_size: (height, width) in pixels, or the side of a square.
            fit: how images of another shape are resized to ``image_size``.
            finetune_from: the first stage to train (``conv1`` … ``conv5``, the convolutions between two max-poolings,
                then ``fc6``, ``fc7``); None freezes all.

        Raises:
            CaptioningError: an unknown name or stage; the weights can't be read or are not this network's.
        """
        if name not in NAMES:
            raise CaptioningError(f"encoder.name={name} is not one of {', '.join(NAMES)}.")

        def make() -> Any:
            network: Any = torchvision.models.get_model(name)
            network.classifier = network.classifier[:5]  # FC-4096, ReLU, dropout, FC-4096, ReLU
            return network

        state = None if weights is None else torchvision_state(name, weights)
        backbone: Any = build(make, state, weights, cut=("classifier.6.",))
        stages: dict[str, list[nn.Module]] = {"conv1": []}
        for layer in backbone.features:
            stages[f"conv{len(stages)}"].append(layer)
            if isinstance(layer, nn.MaxPool2d):
                stages[f"conv{len(stages) + 1}"] = []
        del stages["conv6"]  # nothing follows the last max-pooling
        super().__init__(
            backbone,
            identity={"name": name},
            stages={**stages, "fc6": [backbone.classifier[0]], "fc7": [backbone.classifier[3]]},
            finetune_from=finetune_from,
            image_size=image_size,
            fit=fit,
        )

    def encode(self, images: Tensor) -> Features:
        """See ``Encoder.encode``."""
        network = self.backbone
        maps: Tensor = network.features[:-1](images)  # (B, 512, rows, columns)
        halves = network.avgpool(network.features[-1](maps))  # (B, 512, 7, 7)
        pooled: Tensor = network.classifier(halves.flatten(1))  # (B, 4096)
        return Features(pooled=pooled, grid=maps)
