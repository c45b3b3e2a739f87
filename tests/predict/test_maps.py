"""Attention maps of different layouts."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from captioning.core.features import Features
from captioning.predict.maps import attended_part, resampling

SIDE = st.integers(1, 7)


@settings(max_examples=80, deadline=None)
@given(rows=SIDE, columns=SIDE, finer_rows=SIDE, finer_columns=SIDE)
def test_each_region_spreads_its_weight_evenly_over_its_area(
    rows: int, columns: int, finer_rows: int, finer_columns: int
) -> None:
    """Against pixels: both layouts are drawn so finely that each region is a whole number of them."""
    weights = np.random.default_rng(0).random((rows, columns))
    height, width = math.lcm(rows, finer_rows), math.lcm(columns, finer_columns)
    tall, wide = height // rows, width // columns
    pixels = np.repeat(np.repeat(weights, tall, axis=0), wide, axis=1) / (tall * wide)
    expected = pixels.reshape(finer_rows, height // finer_rows, finer_columns, width // finer_columns).sum((1, 3))
    matrix = resampling((rows, columns), (finer_rows, finer_columns))
    if (rows, columns) == (finer_rows, finer_columns):
        assert matrix is None
        return
    assert matrix is not None
    found = torch.from_numpy(weights).float().flatten() @ matrix
    np.testing.assert_allclose(found, expected.ravel(), atol=1e-5)


@pytest.mark.parametrize(("regions", "part"), [(6, "grid"), (4, "objects"), (5, None)])
def test_the_part_that_weights_belong_to_is_found_by_its_regions(regions: int, part: str | None) -> None:
    features = Features(pooled=torch.zeros(2, 6), grid=torch.zeros(2, 6, 3), objects=torch.zeros(2, 4, 3))
    assert attended_part(("pooled", "objects", "grid"), features, regions) == part
    assert attended_part(("pooled",), features, regions) is None
