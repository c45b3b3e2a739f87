"""Photographs captioned per second by soft attention at COCO's sizes, against the bare matrix products.

Captions never end here, so that each takes 20 steps and the work is the same in every run. On a GPU 256 photographs are
captioned at once.
"""

from collections.abc import Callable

import pytest
import torch

from captioning.cells import LSTM
from captioning.core.features import Features, FeatureSpec
from captioning.core.vocabulary import END
from captioning.decoders import ShowAttendTell
from captioning.search import Beam
from captioning.speed import make_fast

V, L, D, H = 10_000, 49, 2048, 512


@pytest.fixture(scope="module")
def decoder(device: torch.device) -> ShowAttendTell:
    torch.manual_seed(0)
    decoder = ShowAttendTell(V, FeatureSpec(grid=(7, 7, D)), LSTM, embedding_size=H, hidden_size=H)
    decoder = make_fast(decoder).eval()
    decoder.word_layer.bias.data[END] = -100.0
    return decoder.to(device)


def photographs(batch: int, device: torch.device) -> Features:
    return Features(grid=torch.randn(batch, L, D).relu()).to(device)


@pytest.mark.parametrize("size", [1, 5])
@pytest.mark.parametrize("batch", [1, 64, 256])
def test_beam(
    race: Callable, products_of: Callable, decoder: ShowAttendTell, device: torch.device, size: int, batch: int
) -> None:
    if batch > 64 and device.type == "cpu":
        pytest.skip("256 photographs at once are measured on a GPU")
    features, search = photographs(batch, device), Beam(size)
    assert search(decoder, features).tokens.shape[-1] == search.max_length
    race(
        f"search: beam {size}, batch {batch}",
        lambda: search(decoder, features),
        products_of(lambda: search(decoder, features)),
        count=batch,
        unit="photographs",
        against="its matrix products alone",
        at_least=0.5 if (size, batch) == (5, 64) else None,
        rounds=20 if batch == 1 or device.type == "cuda" else 3,
    )


def test_batch_against_one_at_a_time(race: Callable, decoder: ShowAttendTell, device: torch.device) -> None:
    features, one, search = photographs(64, device), photographs(1, device), Beam(5)
    race(
        "search: beam 5, batch 64 against one at a time",
        lambda: search(decoder, features),
        lambda: [search(decoder, one) for _ in range(8)],
        count=64,
        limit_count=8,
        unit="photographs",
        against="one at a time",
        at_least=5,
    )
