"""An encoder whose features are exact on every machine: means of bytes, without a network."""

from torch import Tensor, nn
from torch.nn import functional as F

from captioning.core.features import Features
from captioning.encoders import Encoder


class MeanColours(Encoder):
    """An encoder to the mean colour of each of 16 regions (``grid``), and to all 16 as one vector (``pooled``)."""

    def __init__(self, weights: None = None) -> None:
        """Take no weights: the encoder has none."""
        super().__init__(
            nn.Identity(),
            identity={"name": "mean colours"},
            stages={},
            finetune_from=None,
            image_size=32,
            mean=(0.5, 0.5, 0.5),
            std=(0.25, 0.25, 0.25),
        )

    def encode(self, images: Tensor) -> Features:
        """See ``Encoder.encode``."""
        maps = F.avg_pool2d(images, 8)  # (B, 3, 4, 4)
        return Features(pooled=maps.flatten(1), grid=maps)
