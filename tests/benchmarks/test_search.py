"""Photographs captioned per second by soft attention at COCO's sizes, against the bare matrix products.

Captions never end here, so that each takes 20 steps and the work is the same in every run.
"""

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from captioning.cells import LSTM
from captioning.core.features import Features, FeatureSpec
from captioning.core.vocabulary import END
from captioning.decoders import ShowAttendTell
from captioning.search import Beam

V, L, D, H = 10_000, 49, 2048, 512
PRODUCTS = {torch.ops.aten.mm.default, torch.ops.aten.addmm.default, torch.ops.aten.bmm.default}


class Products(TorchDispatchMode):
    """Keeps the operands of every matrix product, so that the products can be run again, alone."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[Callable[[], Any]] = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if function in PRODUCTS:
            self.calls.append(partial(function, *args, **(kwargs or {})))
        return function(*args, **(kwargs or {}))

    def run(self) -> None:
        with torch.inference_mode():
            for call in self.calls:
                call()


@pytest.fixture(scope="module")
def decoder() -> ShowAttendTell:
    torch.manual_seed(0)
    decoder = ShowAttendTell(V, FeatureSpec(D, D, (7, 7)), LSTM, embedding_size=H, hidden_size=H).eval()
    decoder.word_layer.bias.data[END] = -100.0
    return decoder


def photographs(batch: int) -> Features:
    return Features(grid=torch.randn(batch, L, D).relu())


def seconds(function: Callable[[], Any], rounds: int = 3) -> float:
    times = []
    for _ in range(rounds):
        begin = time.perf_counter()
        function()
        times.append(time.perf_counter() - begin)
    return min(times)


@pytest.mark.parametrize("size", [1, 5])
@pytest.mark.parametrize("batch", [1, 64])
def test_beam(benchmark, report, decoder, size, batch):
    features, search = photographs(batch), Beam(size)
    with Products() as products:
        found = search(decoder, features)
    assert found.tokens.shape[-1] == search.max_length
    limit = seconds(products.run)
    benchmark.pedantic(search, args=(decoder, features), rounds=3)
    limit = min(limit, seconds(products.run, rounds=1))  # before and after: the machine may have other work
    rate = batch / benchmark.stats.stats.min
    report(f"search: beam {size}, batch {batch}", rate, "photographs", batch / limit, "its matrix products alone")


def test_batch_against_one_at_a_time(benchmark, report, decoder):
    features, one, search = photographs(64), photographs(1), Beam(5)
    alone = seconds(lambda: search(decoder, one), rounds=8)
    benchmark.pedantic(search, args=(decoder, features), rounds=3)
    rate = 64 / benchmark.stats.stats.min
    report("search: beam 5, batch 64", rate, "photographs", 1 / alone, "one at a time")
