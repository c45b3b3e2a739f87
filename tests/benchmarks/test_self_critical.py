"""A step of self-critical training: its share of matrix products, and what drawing and scoring take of it."""

import time
from collections import defaultdict
from collections.abc import Callable
from itertools import islice, product
from string import ascii_lowercase
from typing import Any

import numpy as np
import pytest
import torch

from captioning.cells import LSTM
from captioning.core.features import Features, FeatureSpec
from captioning.core.packing import Packing
from captioning.core.vocabulary import END, SPECIAL, Vocabulary
from captioning.data.batches import Batch
from captioning.decoders import Decoder, NeuralTalk, ShowAttendTell
from captioning.speed import make_fast
from captioning.training.objectives import SelfCritical

B, N, V, D, L, PHOTOS = 50, 5, 3000, 1280, 49, 6000
WORDS = 11  # of a caption, about


@pytest.fixture(scope="module")
def objective() -> SelfCritical:
    """Of Flickr8k's size: five captions of each photograph, whose words are as frequent as Zipf's law says."""
    rng = np.random.default_rng(0)
    vocabulary = Vocabulary([*SPECIAL, *islice(map("".join, product(ascii_lowercase, repeat=4)), V - len(SPECIAL))])
    numbers = len(SPECIAL) + (rng.zipf(1.3, (PHOTOS, 5, WORDS - 1)) - 1) % (V - len(SPECIAL))
    made = SelfCritical(samples=N)
    made.begin(vocabulary, [[vocabulary.decode(caption) for caption in photo] for photo in numbers.tolist()])
    return make_fast(made)


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("kind", [NeuralTalk, ShowAttendTell])
def test_step(
    kind: type[Decoder],
    precision: torch.dtype,
    objective: SelfCritical,
    race: Callable,
    report: Callable,
    products_of: Callable,
    device: torch.device,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """50 photographs, five captions of each, as often ended after a word as captions of eleven words are."""
    torch.manual_seed(0)
    decoder = make_fast(kind(V, FeatureSpec(pooled=(D,), grid=(1, L, D)), LSTM)).train()
    with torch.no_grad():
        decoder.word_layer.bias[END] = np.log(V / WORDS)
    shape = {"pooled": (B, D), "grid": (B, L, D)}
    features = Features(**{part: torch.randn(shape[part]) for part in decoder.reads}).to(device)
    packing = Packing.even(B, 1)
    batch = Batch(torch.arange(B), features, None, torch.ones(B), torch.ones(B), packing)
    decoder, spent = decoder.to(device), defaultdict(float)

    def timed(name: str) -> None:
        run = getattr(objective, name)

        def running(*arguments: Any) -> Any:
            begin = time.perf_counter()
            found = run(*arguments)
            spent[name] += time.perf_counter() - begin
            return found

        monkeypatch.setattr(objective, name, running)

    def step() -> None:
        torch.manual_seed(1)  # the same captions, and so the same products, in every round
        begin = time.perf_counter()
        decoder.zero_grad()
        with torch.autocast(device.type, precision, enabled=precision != torch.float32):
            sums = objective(decoder, features, batch, step=0)
            loss = sum(each.mean for each in sums.values() if each.trained)
        loss.backward()
        spent["step"] += time.perf_counter() - begin

    products = products_of(step)
    timed("draw")
    timed("rewards_of")
    name = f"self-critical step of {kind.__name__}, {B} × {N}, {str(precision).removeprefix('torch.')}"
    spent.clear()
    race(name, step, products, count=B * N, unit="captions", against="the matrix products of one such step")
    share = {part: seconds / spent["step"] for part, seconds in spent.items()}
    report(f"{name}: drawing", share["draw"], "of the step", 1.0, "the step")
    report(f"{name}: all but scoring", 1 - share["rewards_of"], "of the step", 1.0, "the step", at_least=0.95)
    assert share["rewards_of"] < 0.05
