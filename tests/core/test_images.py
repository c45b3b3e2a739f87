"""From pictures to an encoder's input."""

from typing import Literal

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch.nn import functional as F

from captioning.core.images import ImageTransform, stack

sides = st.integers(1, 200)
shown = st.tuples(st.integers(8, 80), st.integers(8, 80))
fits = st.sampled_from(["crop", "squash"])


def noise(width: int, height: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8))


@settings(max_examples=100)
@given(st.tuples(sides, sides), shown, fits)
def test_bicubic_as_defined_and_as_pillow_has_it(
    size: tuple[int, int], shown: tuple[int, int], fit: Literal["crop", "squash"]
) -> None:
    transform, picture = ImageTransform(shown, fit), noise(*size)
    ours = transform(picture).double()
    cut = picture.crop(transform.seen(size))
    across = resized(torch.from_numpy(np.array(cut)).permute(2, 0, 1).double(), (cut.size[1], shown[1]))
    assert (ours - resized(across, shown)).abs().max() <= 2  # levels of 256
    pillow = np.asarray(cut.resize(shown[::-1], Image.Resampling.BICUBIC), dtype=float)
    assert np.abs(ours.permute(1, 2, 0).numpy() - pillow).mean() < 1  # on noise; on photographs 0.01


def resized(pixels: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """In double precision, to whole levels."""
    return F.interpolate(pixels.unsqueeze(0), size, mode="bicubic", antialias=True).squeeze(0).round().clamp(0, 255)


@settings(max_examples=100)
@given(st.tuples(sides, sides), shown)
def test_a_crop_is_the_largest_part_of_that_shape(size: tuple[int, int], shown: tuple[int, int]) -> None:
    left, top, right, bottom = ImageTransform(shown, "crop").seen(size)
    width, height, aspect = right - left, bottom - top, shown[1] / shown[0]
    assert width >= 1 and height >= 1 and (width == size[0] or height == size[1])
    assert abs(width - min(size[0], size[1] * aspect)) <= 1 and abs(height - min(size[1], size[0] / aspect)) <= 1
    assert 0 <= (size[0] - right) - left <= 1 and 0 <= (size[1] - bottom) - top <= 1  # in the centre


@pytest.mark.parametrize("fit", ["crop", "squash"])
@pytest.mark.parametrize("size", [(224, 224), (640, 480), (30, 300)])
def test_a_batch_is_channels_last_in_memory(size: tuple[int, int], fit: Literal["crop", "squash"]) -> None:
    images = [ImageTransform((224, 224), fit)(noise(*size)) for _ in range(2)]
    assert all(image.unsqueeze(0).is_contiguous(memory_format=torch.channels_last) for image in images)
    batch = stack(images)
    assert batch.is_contiguous(memory_format=torch.channels_last) and torch.equal(batch, torch.stack(images))
