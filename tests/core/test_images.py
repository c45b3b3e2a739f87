"""From pictures to an encoder's input."""

from typing import Literal

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from captioning.core.images import ImageTransform

sides = st.integers(1, 200)


@settings(max_examples=50)
@given(st.tuples(sides, sides), st.tuples(st.integers(8, 80), st.integers(8, 80)), st.sampled_from(["crop", "squash"]))
def test_the_same_pixels_as_pillow(
    size: tuple[int, int], shown: tuple[int, int], fit: Literal["crop", "squash"]
) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    picture = Image.fromarray(pixels)
    if fit == "crop":
        expected = ImageOps.fit(picture, shown[::-1], Image.Resampling.BICUBIC)
    else:
        expected = picture.resize(shown[::-1], Image.Resampling.BICUBIC)
    ours = ImageTransform(shown, fit)(picture).permute(1, 2, 0).numpy()
    assert np.array_equal(ours, np.asarray(expected))
