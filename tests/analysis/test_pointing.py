"""The pointing game: by hand, against pixels, and through the transform of the photographs."""

from typing import Literal

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from PIL import Image
from torch.nn import functional as F

from captioning.analysis.pointing import Named, covered, find_named, largest, score
from captioning.core.images import ImageTransform

SEEN = (0.0, 0.0, 40.0, 20.0)


def maps(*cells: tuple[int, int]) -> np.ndarray:
    """One map of 2×4 a word, its largest weight in that cell."""
    weights = np.full((len(cells), 2, 4), 0.1, dtype=np.float32)
    for word, cell in enumerate(cells):
        weights[(word, *cell)] = 0.3
    return weights


def test_by_hand() -> None:
    # cells of 10×10 pixels; their centres at 5, 15, 25, 35 across and 5, 15 down
    objects = {"ball": [(0.0, 0.0, 10.0, 10.0)], "cups": [(20.0, 0.0, 30.0, 20.0), (28.0, 10.0, 40.0, 20.0)]}
    words = ["a", "ball", "left", "of", "two", "cups", "under", "a", "ball", "and", "cups"]
    looked = maps((0, 3), (0, 0), (0, 0), (0, 0), (0, 0), (1, 3), (0, 0), (0, 0), (0, 1), (0, 0), (1, 0))
    named = list(find_named(words, looked, objects, SEEN))
    union = (10 * 20 + 10 * 10) / 800
    assert named == [
        Named("ball", True, 100 / 800),
        Named("cups", True, pytest.approx(union)),  # in the second of the boxes
        Named("ball", False, 100 / 800),
        Named("cups", False, pytest.approx(union)),
    ]
    result = score(named)
    assert result is not None
    assert (result.hits, result.named, result.share) == (2, 4, 0.5)
    assert result.chance == pytest.approx((2 * 100 / 800 + 2 * union) / 4)
    assert str(result) == "pointing game: 50.0 % of 4 named objects (chance 25.0 %)"


def test_nobody_plays() -> None:
    assert score(list(find_named(["a", "dog"], maps((0, 0), (0, 0)), {"ball": [SEEN]}, SEEN))) is None


def test_the_word_counts_not_the_one_before_it() -> None:
    objects = {"ball": [(0.0, 0.0, 10.0, 10.0)]}
    hit = [named.hit for named in find_named(["red", "ball"], maps((0, 0), (1, 3)), objects, SEEN)]
    assert hit == [False]


def test_places_in_a_photograph_whose_sides_were_cut_off() -> None:
    transform = ImageTransform((64, 64), "crop")
    assert transform.seen((200, 100)) == (50, 0, 150, 100)
    assert transform.seen((60, 100)) == (0, 20, 60, 80)
    assert ImageTransform((64, 64), "squash").seen((200, 100)) == (0, 0, 200, 100)
    assert largest(maps((1, 0))[0], transform.seen((200, 100))) == (62.5, 75)


@given(
    st.sampled_from(["squash", "crop"]),
    st.tuples(st.integers(60, 160), st.integers(60, 160)),
    st.tuples(st.sampled_from([32, 48, 64]), st.sampled_from([32, 64, 96])),
    st.data(),
)
def test_points_at_what_the_encoder_was_shown(
    fit: Literal["squash", "crop"], size: tuple[int, int], shown: tuple[int, int], data: st.DataObject
) -> None:
    """A white block comes back from the grid of 16×16 pixels to where it lies in the picture."""
    transform = ImageTransform(shown, fit)
    left, top, right, bottom = transform.seen(size)
    across, down = (right - left) / (shown[1] // 16), (bottom - top) / (shown[0] // 16)  # a cell, in the picture
    x = data.draw(st.floats(left, max(left, right - 2.2 * across)))
    y = data.draw(st.floats(top, max(top, bottom - 2.2 * down)))
    block = (round(x), round(y), round(x + 2.2 * across), round(y + 2.2 * down))  # a whole cell, wherever it begins
    picture = Image.new("RGB", size)
    picture.paste((255, 255, 255), block)
    cells = F.avg_pool2d(transform(picture).float().mean(0)[None], 16)[0]
    assume(cells.max() > 250)
    x, y = largest(cells.numpy(), transform.seen(size))
    assert block[0] <= x <= block[2] and block[1] <= y <= block[3]
    (named,) = find_named(["block"], cells[None].numpy(), {"block": [block]}, transform.seen(size))
    assert named.hit


corner = st.integers(-3, 12)


@given(st.lists(st.tuples(corner, corner, st.integers(1, 9), st.integers(1, 9)), max_size=5))
def test_covered_area_is_that_of_pixels(boxes: list[tuple[int, int, int, int]]) -> None:
    pixels = torch.zeros(10, 8)
    for x, y, width, height in boxes:
        pixels[max(y, 0) : max(y + height, 0), max(x, 0) : max(x + width, 0)] = 1
    rectangles = [(float(x), float(y), float(x + width), float(y + height)) for x, y, width, height in boxes]
    assert covered(rectangles, (0, 0, 8, 10)) == pytest.approx(float(pixels.mean()))
