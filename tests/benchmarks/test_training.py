"""A training step, forwards and backwards, against the time that its matrix products take alone.

On a GPU the batches are as large as there is use for: 256 captions of COCO's vocabulary, and grids of 7×7 and 14×14.
"""

from collections.abc import Callable
from dataclasses import dataclass
from unittest.mock import patch

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from captioning.cells import LSTM
from captioning.core.features import Features, FeatureSpec
from captioning.core.packing import Packing
from captioning.core.state import State
from captioning.decoders import (
    LRCN,
    MRNN,
    Adaptive,
    AttentionOnAttention,
    Decoder,
    NeuralTalk,
    RecurrentDecoder,
    ShowAttendTell,
    ShowTell,
    Transformer,
    UpDown,
    VisualMemory,
)
from captioning.speed import make_fast
from captioning.training.objectives import CrossEntropy

V, D, H, T = 10_000, 2048, 512, 20  # COCO with ResNet-101
KINDS = [NeuralTalk, ShowTell, LRCN, MRNN, VisualMemory, ShowAttendTell, Adaptive, UpDown]
KINDS += [AttentionOnAttention, Transformer]
AT_LEAST = {NeuralTalk: 0.7, ShowAttendTell: 0.6}
halves = pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])


@dataclass
class Work:
    """A batch of captions, and the decoder that learns them."""

    decoder: Decoder
    features: Features
    tokens: Tensor
    precision: torch.dtype

    def __post_init__(self) -> None:
        self.packing = Packing.of(self.tokens)
        self.words = self.targets = self.packing.pack(self.tokens)
        self.captions = len(self.packing.captions)
        self.half = torch.autocast(self.words.device.type, self.precision, enabled=self.precision != torch.float32)

    def step(self) -> None:
        """As ``CaptioningModule`` does it."""
        self.decoder.zero_grad()
        with self.half:
            sums = CrossEntropy()(self.decoder, self.features, self, step=0)
            loss = sum(each.mean for each in sums.values() if each.trained)
        loss.backward()

    def plain_step(self) -> None:
        """What depends on no word, and what depends on its own word alone, is computed again at every step."""
        self.decoder.zero_grad()
        with self.half:
            state, losses, looked = self.decoder.start(self.features), [], []
            for words in self.tokens.unbind(-1):
                keys = self.decoder.attention.keys(self.features["grid"])
                logits, state = self.decoder.step(words, State({**state.image, "keys": keys}, state.sequence))
                losses.append(F.cross_entropy(logits.flatten(0, 1).float(), words.flatten()))
                looked.append(state.sequence["attention"].float())
            penalty = (1 - torch.stack(looked).sum(0)).square().sum() / self.tokens.numel()
            loss = torch.stack(losses).mean() + penalty
        loss.backward()


def work(
    kind: type[Decoder], lengths: Tensor, precision: torch.dtype, device: torch.device, *, V: int, D: int, L: int
) -> Work:
    """Made-up captions of these lengths ``(B, S)`` and their photographs."""
    torch.manual_seed(0)
    B, T = len(lengths), int(lengths.max())
    tokens = torch.randint(4, V, (*lengths.shape, T)) * (torch.arange(T) < lengths.unsqueeze(-1))
    cell = {"cell": LSTM} if issubclass(kind, RecurrentDecoder) else {}
    decoder = make_fast(kind(V, FeatureSpec(pooled=(D,), grid=(1, L, D)), **cell)).to(device)
    shape = {"pooled": (B, D), "grid": (B, L, D)}
    features = Features(**{part: torch.randn(shape[part]) for part in decoder.reads})
    return Work(decoder, features.to(device), tokens.to(device), precision)


def name(kind: type[Decoder], precision: torch.dtype, where: str) -> str:
    return f"training {kind.__name__}, {where}, {str(precision).removeprefix('torch.')}"


@halves
@pytest.mark.parametrize("kind", KINDS)
def test_step_at_the_sizes_of_flickr8k(
    kind: type[Decoder], precision: torch.dtype, race: Callable, products_of: Callable, device: torch.device
) -> None:
    """18 photographs with five captions each of 5 to 28 words, EfficientNet-Lite0."""
    torch.manual_seed(0)
    lengths = (torch.randn(18, 5) * 3.8 + 11.8).round().clamp(5, 28)
    batch = work(kind, lengths, precision, device, V=2600, D=1280, L=49)
    race(
        name(kind, precision, "Flickr8k"),
        batch.step,
        products_of(batch.step),
        count=batch.captions,
        unit="captions",
        against="its matrix products alone",
        at_least=AT_LEAST.get(kind) if precision == torch.float32 else None,
    )


def coco(kind: type[Decoder], precision: torch.dtype, device: torch.device, L: int) -> Work:
    """A caption of 20 words for each of 64 photographs, 256 on a GPU."""
    batch = 256 if device.type == "cuda" else 64
    return work(kind, torch.full((batch, 1), T), precision, device, V=V, D=D, L=L)


@halves
@pytest.mark.parametrize(("kind", "L"), [(NeuralTalk, 49), (ShowAttendTell, 49), (ShowAttendTell, 196)])
def test_step_at_the_sizes_of_coco(
    kind: type[Decoder], L: int, precision: torch.dtype, race: Callable, products_of: Callable, device: torch.device
) -> None:
    if L > 49 and device.type == "cpu":
        pytest.skip("a grid of 14×14 is measured on a GPU")
    batch = coco(kind, precision, device, L)
    race(
        name(kind, precision, f"COCO, batch {batch.captions}{f', L = {L}' * (kind is ShowAttendTell)}"),
        batch.step,
        products_of(batch.step),
        count=batch.captions,
        unit="captions",
        against="its matrix products alone",
        at_least=AT_LEAST[kind] if precision == torch.float32 else None,
    )


@halves
def test_attention_against_a_plain_loop(precision: torch.dtype, race: Callable, device: torch.device) -> None:
    """The loop multiplies as ``torch.nn.Linear`` does, as anyone would write it: on some CPUs ours are faster."""
    batch = coco(ShowAttendTell, precision, device, 49)

    def plain() -> None:
        with patch("captioning.speed.linear._onednn_is_faster", return_value=False):
            batch.plain_step()

    race(
        f"{name(ShowAttendTell, precision, 'COCO, L = 49')}, against a plain loop",
        batch.step,
        plain,
        count=batch.captions,
        unit="captions",
        against="keys, words and vocabulary at every step",
        at_least=3.0 if precision == torch.float32 else None,
    )


@pytest.mark.slow
@halves
def test_compiled_attention(precision: torch.dtype, race: Callable, device: torch.device) -> None:
    plain, compiled = (coco(ShowAttendTell, precision, device, 49) for _ in range(2))
    make_fast(compiled.decoder, compiled=True)
    race(
        name(ShowAttendTell, precision, f"compile=true, COCO, batch {plain.captions}, L = 49"),
        compiled.step,
        plain.step,
        count=plain.captions,
        unit="captions",
        against="compile=false",
    )
