"""Where the processor waits for a GPU: nowhere within a training step, and at every fourth step of a search.

Without a GPU the operations are counted that read a number, or a number of rows, from a device; with one, CUDA tells.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from captioning.cells import GRU, LSTM, RNN
from captioning.core.features import Features, FeatureSpec
from captioning.core.packing import Packing
from captioning.decoders import (
    LRCN,
    MRNN,
    Adaptive,
    AttentionOnAttention,
    Decoder,
    NeuralTalk,
    ShowAttendTell,
    ShowTell,
    Transformer,
    UpDown,
    VisualMemory,
)
from captioning.search import Beam, DiverseBeam, Greedy, Sample, Search, search
from captioning.speed import make_fast
from captioning.training.objectives import CrossEntropy

SPEC = FeatureSpec(pooled=(6,), grid=(2, 3, 7))
B, S, V = 4, 2, 23
WITH_CELLS = [NeuralTalk, ShowTell, LRCN, MRNN, VisualMemory, ShowAttendTell, Adaptive, UpDown, AttentionOnAttention]
MADE = {
    f"{kind.__name__}-{cell.__name__}": partial(kind, cell=cell) for kind in WITH_CELLS for cell in (RNN, GRU, LSTM)
}
MADE |= {"hard attention": partial(ShowAttendTell, cell=LSTM, attention="hard")}
MADE = {name: partial(make, hidden_size=8) for name, make in MADE.items()} | {
    "Transformer": partial(Transformer, heads=2)
}
READS = ("_local_scalar_dense", "nonzero", "masked_select", "is_nonzero", "equal", "_unique2", "bincount")
DEVICES = [
    "cpu",
    pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here")),
]


class Waits(TorchDispatchMode):
    """Keeps the names of operations after which a processor knows what a GPU has computed."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function.overloadpacket.__name__
        by_mask = name in ("index", "index_put_") and any(
            each is not None and each.dtype == torch.bool for each in args[1]
        )
        counted = name == "repeat_interleave" and args and isinstance(args[0], Tensor)
        if name in READS or by_mask or counted:
            self.names.append(name)
        return function(*args, **(kwargs or {}))


@contextmanager
def no_waits(device: str) -> Iterator[None]:
    if device == "cuda":
        before = torch.cuda.get_sync_debug_mode()
        torch.cuda.set_sync_debug_mode("error")
        try:
            yield
        finally:
            torch.cuda.set_sync_debug_mode(before)
        return
    with Waits() as waits:
        yield
    assert not waits.names


class Words:
    """Two captions for each of four photographs, some ended before others."""

    def __init__(self, device: str) -> None:
        lengths = torch.tensor([[5, 3], [1, 6], [2, 2], [4, 1]])
        tokens = torch.randint(4, V, (B, S, 6)) * (torch.arange(6) < lengths.unsqueeze(-1))
        packing = Packing.of(tokens)
        self.words, self.targets = (
            packing.pack(tokens).to(device),
            packing.pack(tokens.roll(1, -1).clamp_min(4)).to(device),
        )
        self.packing = packing.to(device)


def features(device: str) -> Features:
    return Features(pooled=torch.randn(B, 6), grid=torch.randn(B, 6, 7)).to(device)


def made(make: Callable[..., Decoder], device: str) -> Decoder:
    torch.manual_seed(0)
    return make_fast(make(V, SPEC, embedding_size=8)).to(device)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("make", MADE.values(), ids=MADE)
def test_a_training_step_waits_nowhere(make: Callable[..., Decoder], device: str) -> None:
    decoder, batch, seen = made(make, device), Words(device), features(device)
    for number in range(2):  # the first one of a process may wait for its libraries
        with no_waits(device if number else "cpu"):
            sums = CrossEntropy(label_smoothing=0.1, feature_dropout=0.5)(decoder, seen, batch, step=0)
            torch.stack([each.mean for each in sums.values() if each.trained]).sum().backward()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here")
def test_reading_sentences_backwards_waits_nowhere() -> None:
    packing = Words("cuda").packing
    with no_waits("cuda"):
        packing.turned().row_captions  # noqa: B018


def test_the_count_sees_what_waits() -> None:
    """The test of the test."""
    values = torch.arange(3.0)
    for waits in (
        lambda: values.sum().item(),
        lambda: values[values > 1],
        lambda: values.nonzero(),
        lambda: bool(values[0]),
    ):
        with pytest.raises(AssertionError), no_waits("cpu"):
            waits()


SEARCHES = [
    Greedy(9),
    Beam(3, 9),
    Beam(3, 9, 0.6, n_best=2),
    DiverseBeam(2, groups=2, max_length=9),
    Sample(9, samples=2),
]


@pytest.mark.parametrize("find", SEARCHES, ids=str)
def test_a_search_on_a_gpu_waits_at_every_fourth_step(find: Search, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "WAITS", ("cpu",))
    decoder = made(MADE["ShowAttendTell-LSTM"], "cpu").eval()
    with Waits() as waits:
        find(decoder, features("cpu"))
    assert 1 <= len([name for name in waits.names if name == "_local_scalar_dense"]) <= 2, "of nine steps, two"
    assert len(waits.names) <= 4


@pytest.mark.parametrize("find", [each for each in SEARCHES if not isinstance(each, Sample)], ids=str)
@pytest.mark.parametrize("bias", [-2.0, 0.0, 3.0])
def test_captions_do_not_depend_on_when_it_asks(find: Search, bias: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Captions, scores and attention, where all have ended long before it asks, some, and none."""
    decoder = made(MADE["ShowAttendTell-LSTM"], "cpu").eval()
    decoder.word_layer.bias.data[2] = bias
    seen = features("cpu")
    plain = find(decoder, seen, attention=True)
    monkeypatch.setattr(search, "WAITS", ("cpu",))
    found = find(decoder, seen, attention=True)
    T = plain.tokens.shape[-1]
    assert torch.equal(found.tokens[..., :T], plain.tokens)
    assert not found.tokens[..., T:].any()
    torch.testing.assert_close(found.scores, plain.scores)
    assert found.attention is not None and plain.attention is not None
    torch.testing.assert_close(found.attention[..., :T, :], plain.attention)
    assert not found.attention[..., T:, :].any()
