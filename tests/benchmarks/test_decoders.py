"""Decoders: a training step against the time that its matrix products alone would take (`make bench`)."""

import time
from collections.abc import Callable
from statistics import median

import pytest
import torch
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from captioning.cells import LSTM
from captioning.core.features import Features, FeatureSpec
from captioning.core.packing import Packing
from captioning.decoders import LRCN, MRNN, Decoder, NeuralTalk, ShowAttendTell, ShowTell, VisualMemory

B, S, L, D, V, ROUNDS = 18, 5, 49, 1280, 2600, 7
KINDS = [NeuralTalk, ShowTell, LRCN, MRNN, VisualMemory, ShowAttendTell]


def seconds(function: Callable[[], object]) -> float:
    function()
    times = []
    for _ in range(ROUNDS):
        begin = time.perf_counter()
        function()
        times.append(time.perf_counter() - begin)
    return median(times)


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("kind", KINDS)
def test_training_step(kind: type[Decoder], precision: torch.dtype, benchmark: object, report: Callable) -> None:
    torch.manual_seed(0)
    decoder = kind(V, FeatureSpec(D, D, (7, 7)), LSTM)
    lengths = (torch.randn(B, S) * 3.8 + 11.8).round().clamp(5, 28)
    tokens = torch.randint(4, V, (B, S, 28)) * (torch.arange(28) < lengths.unsqueeze(-1))
    features, packing = Features(torch.randn(B, D), torch.randn(B, L, D)), Packing.of(tokens)
    words = packing.pack(tokens)

    def step() -> None:
        decoder.zero_grad()
        with torch.autocast("cpu", precision, enabled=precision != torch.float32):
            reading = decoder.read(features, words, packing)
            logits = decoder.logits(reading.hidden)
            losses = decoder.losses(reading, features, packing, torch.zeros(len(words)))
        (F.cross_entropy(logits.float(), words) + sum(losses.values())).backward()

    with FlopCounterMode(display=False) as counter:
        step()
    x, weight = torch.randn(len(words), 512, dtype=precision), torch.randn(512, 2048, dtype=precision)
    products = counter.get_total_flops() * seconds(lambda: x @ weight) / (2 * x.numel() * 2048)
    benchmark.pedantic(step, rounds=1)
    name = f"{kind.__name__}, {str(precision).removeprefix('torch.')}"
    report(name, B * S / seconds(step), "captions", B * S / products, "its matrix products alone")
