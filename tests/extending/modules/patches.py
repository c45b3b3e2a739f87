"""An encoder with a part of a new name: the patches of a photograph that are not flat, as many as there are.

captioning train encoder=none +encoder._target_=patches.Patches decoder=show_attend_tell decoder.attends=patches
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from captioning import Encoder, Features

SIDE = 8  # pixels of a patch


class Patches(Encoder):
    """Colours of the patches whose colours vary, the most varied first."""

    def __init__(self, weights: None = None, image_size: int = 32, flat: float = 0.3) -> None:
        """Take the size of the picture, and the deviation up to which a patch is flat."""
        self.flat = flat
        super().__init__(nn.Identity(), identity={"flat": flat}, image_size=image_size)

    def encode(self, images: Tensor) -> Features:
        """``patches (B, L, 3·64)``: the patches that vary, of each photograph one at least."""
        pixels = F.unfold(images, SIDE, stride=SIDE).transpose(1, 2)  # (B, L, 3·64)
        deviation, order = pixels.std(-1).sort(dim=1, descending=True)
        lengths = (deviation > self.flat).sum(1).clamp(min=1)
        rows = torch.arange(len(images), device=images.device).unsqueeze(1)
        return Features({"patches": lengths}, patches=pixels[rows, order])
