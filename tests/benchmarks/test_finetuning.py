"""Fine-tuning of an encoder: from photographs on disk, changed in each epoch, against its passes alone.

The bare encoder's forward and backward pass, over batches that are ready, is all that there is; workers decode, change
and resize photographs beside it, on the same cores.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor

from captioning.data.augmentation import Augmentation
from captioning.data.module import PhotoData
from captioning.data.photos import CaptionedPhotos, Photo
from captioning.encoders.efficientnet import EfficientNetLite0
from captioning.encoders.encoder import Encoder
from captioning.speed import make_convolutions_fast
from captioning.tasks.photographs import _change_photo

BATCH, STAGE = 16, "stage6"
halves = pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])


def passes(encoder: Encoder, images: Tensor, precision: torch.dtype) -> None:
    """Forward and backward, with a gradient for each region."""
    encoder.zero_grad()
    with torch.autocast(images.device.type, precision, enabled=precision != torch.float32):
        grid = encoder(images)["grid"]
    grid.backward(torch.full_like(grid, 1e-3))


@halves
@pytest.mark.parametrize("size", [(224, 224), (640, 480)], ids=lambda size: f"{size[0]}×{size[1]}")
def test_photographs_against_the_bare_encoder(
    size: tuple[int, int], precision: torch.dtype, tmp_path: Path, race: Callable, draw: Callable, device: torch.device
) -> None:
    encoder = make_convolutions_fast(EfficientNetLite0(finetune_from=STAGE)).to(device)
    photos = [Photo(number, path, ("a dog",)) for number, path in enumerate(draw(tmp_path, size, 8 * BATCH))]
    change = partial(_change_photo, encoder.transform, Augmentation())
    data = PhotoData(
        CaptionedPhotos("made up", {"train": photos}), features=None, image=lambda _: None, changed=change, workers=2
    )
    loader = data.train_dataloader()
    ready = [batch.images for batch in loader]
    race(
        f"fine-tuning EfficientNet-Lite0 from {STAGE}, {size[0]}×{size[1]} JPEGs, {str(precision)[6:]}",
        lambda: [passes(encoder, batch.images.to(device), precision) for batch in loader],
        lambda: [passes(encoder, images.to(device), precision) for images in ready],
        count=len(photos),
        unit="photographs",
        against="the bare encoder",
        at_least=0.8,
        rounds=3,
    )


@halves
def test_fast_convolutions_against_plain_ones(precision: torch.dtype, race: Callable, device: torch.device) -> None:
    plain = EfficientNetLite0(finetune_from=STAGE).to(device)
    fast = make_convolutions_fast(EfficientNetLite0(finetune_from=STAGE)).to(device)
    images = torch.randint(0, 256, (BATCH, 3, 224, 224), dtype=torch.uint8, device=device)
    race(
        f"fine-tuning EfficientNet-Lite0 from {STAGE}, {str(precision)[6:]}, against plain convolutions",
        lambda: passes(fast, images, precision),
        lambda: passes(plain, images, precision),
        count=BATCH,
        unit="photographs",
        against="BatchNorm behind each convolution",
        at_least=1.0 if precision == torch.float32 else 1.5,
    )
