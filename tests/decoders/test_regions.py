"""Photographs with different numbers of regions in one batch are as each of them is alone."""

import pytest
import torch
from torch import Tensor

from captioning.cells import GRU, LSTM
from captioning.core.errors import CaptioningError
from captioning.core.features import Features, FeatureSpec
from captioning.core.packing import Packing
from captioning.core.vocabulary import PAD
from captioning.decoders import (
    Adaptive,
    AttentionOnAttention,
    Decoder,
    NeuralTalk,
    RecurrentDecoder,
    ShowAttendTell,
    Transformer,
    UpDown,
)
from captioning.decoders.attention import AdditiveAttention
from captioning.search import Beam
from captioning.speed import make_fast

D, V, MOST = 5, 13, 6
REGIONS = [6, 1, 4]
SPEC = FeatureSpec({"objects"}, objects=(MOST, D), whole=(D,))
TOKENS = torch.tensor([[[1, 5, 8, 2], [1, 9, 0, 0]], [[1, 9, 4, 0], [1, 7, 7, 7]], [[1, 4, 0, 0], [0, 0, 0, 0]]])
KINDS: dict[str, tuple[type[Decoder], dict[str, str]]] = {
    "soft": (ShowAttendTell, {"attention": "soft"}),
    "hard": (ShowAttendTell, {"attention": "hard"}),
    "adaptive": (Adaptive, {}),
    "up_down": (UpDown, {}),
    "attention on attention": (AttentionOnAttention, {}),
    "transformer": (Transformer, {}),
}
PADDINGS = pytest.mark.parametrize("padding", [0.0, 7.0, float("nan"), float("inf")])


def make(fast: bool, name: str = "soft") -> Decoder:
    torch.manual_seed(0)
    kind, settings = KINDS[name]
    sizes = {"embedding_size": 8, "depth": 2}
    if issubclass(kind, RecurrentDecoder):
        sizes |= {"hidden_size": 8, "cell": LSTM}
    if kind not in (AttentionOnAttention, Transformer):
        sizes["attention_size"] = 8
    decoder = kind(V, SPEC, attends="objects", **settings, **sizes)
    return make_fast(decoder) if fast else decoder


def objects() -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(regions, D, generator=generator) for regions in REGIONS]


def batch(padding: float) -> Features:
    grid = torch.full((len(REGIONS), MOST, D), padding)
    for row, there in zip(grid, objects(), strict=True):
        row[: len(there)] = there
    return Features({"objects": torch.tensor(REGIONS)}, objects=grid)


def results(decoder: Decoder, features: Features, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor, list[Tensor]]:
    """The word layer's inputs and the attention by place, the sum of the decoder's own losses, and gradients."""
    packing = Packing.of(tokens)
    outputs = decoder.teacher_force(features, packing.pack(tokens), packing)
    losses = decoder.losses(outputs, features, packing, torch.zeros(len(packing.rows)))
    total = sum((loss.total for loss in losses.values()), torch.zeros(()))
    decoder.zero_grad()
    (decoder.logits(outputs.hidden).square().sum() + total).backward()
    gradients = [torch.zeros_like(p) if p.grad is None else p.grad.clone() for p in decoder.parameters()]
    attention = outputs.trace["attention"] if "attention" in decoder.traced else torch.zeros(len(packing.rows), 1)
    return packing.unpack(outputs.hidden), packing.unpack(attention), total.detach(), gradients


@PADDINGS
@pytest.mark.parametrize("fast", [False, True], ids=["plain", "fast"])
@pytest.mark.parametrize("name", KINDS)
def test_a_batch_is_each_photograph_alone(name: str, fast: bool, padding: float) -> None:
    decoder = make(fast, name).eval()
    hidden, weights, total, gradients = results(decoder, batch(padding), TOKENS)
    alone = [
        results(decoder, Features(objects=there.unsqueeze(0)), tokens.unsqueeze(0))
        for there, tokens in zip(objects(), TOKENS, strict=True)
    ]
    for place, (regions, one) in enumerate(zip(REGIONS, alone, strict=True)):
        torch.testing.assert_close(hidden[place : place + 1], one[0], atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(weights[place : place + 1, :, :, :regions], one[1], atol=1e-6, rtol=1e-5)
        assert (weights[place, :, :, regions:] == 0).all()
    torch.testing.assert_close(total, sum(one[2] for one in alone), atol=1e-5, rtol=1e-5)
    summed = [sum(parts) for parts in zip(*(one[3] for one in alone), strict=True)]
    torch.testing.assert_close(gradients, summed, atol=1e-4, rtol=1e-4)


@PADDINGS
@pytest.mark.parametrize("fast", [False, True], ids=["plain", "fast"])
@pytest.mark.parametrize("name", [name for name in KINDS if name != "hard"])
def test_search_says_of_each_what_it_says_of_it_alone(name: str, fast: bool, padding: float) -> None:
    decoder, search = make(fast, name).eval(), Beam(size=3, max_length=5)
    with torch.no_grad():
        decoder.word_layer.weight.mul_(20)  # so that no two captions are nearly as likely
    together = search(decoder, batch(padding), attention=True)
    for place, (regions, there) in enumerate(zip(REGIONS, objects(), strict=True)):
        alone = search(decoder, Features(objects=there.unsqueeze(0)), attention=True)
        T = alone.tokens.shape[-1]
        assert together.tokens[place, :, :T].tolist() == alone.tokens[0].tolist()
        assert (together.tokens[place, :, T:] == PAD).all()
        torch.testing.assert_close(together.scores[place], alone.scores[0], atol=1e-4, rtol=1e-4)
        assert together.attention is not None and alone.attention is not None
        torch.testing.assert_close(together.attention[place, :, :T, :regions], alone.attention[0], atol=1e-5, rtol=1e-4)
        assert (together.attention[place, :, :, regions:] == 0).all()


def test_all_regions_of_all_photographs_are_as_without_lengths() -> None:
    decoder, grid = make(fast=False), torch.randn(3, MOST, D)
    found = results(decoder, Features({"objects": torch.full((3,), MOST)}, objects=grid), TOKENS)
    torch.testing.assert_close(found, results(decoder, Features(objects=grid), TOKENS))


@pytest.mark.parametrize("fast", [False, True], ids=["plain", "fast"])
def test_hard_attention_never_draws_a_region_that_is_not_there_and_its_losses_are_finite(fast: bool) -> None:
    decoder, packing = make(fast, "hard").train(), Packing.of(TOKENS)
    decoder.expected = 0.0
    features = batch(float("nan"))
    there = features.mask("objects")
    assert there is not None
    drawn = torch.zeros(len(REGIONS), MOST)
    for _ in range(60):
        outputs = decoder.teacher_force(features, packing.pack(TOKENS), packing)
        drawn.index_add_(0, packing.row_images, outputs.trace["glimpse"].detach())
        losses = decoder.losses(outputs, features, packing, torch.ones(len(packing.rows)))
        assert all(loss.total.isfinite() for loss in losses.values())
    assert (drawn[~there] == 0).all() and (drawn[there] > 0).all()
    sum(loss.mean for loss in losses.values()).backward()
    assert all(p.grad.isfinite().all() for p in decoder.parameters() if p.grad is not None)


@pytest.mark.parametrize("fast", [False, True], ids=["plain", "fast"])
def test_a_photograph_without_any_region_has_no_weights_and_no_nan(fast: bool) -> None:
    attention = AdditiveAttention(D, 4, 3)
    attention = make_fast(attention) if fast else attention
    grid, there = torch.randn(2, MOST, D), torch.tensor([[False] * MOST, [True] * MOST])
    weights = attention(attention.keys(grid), torch.randn(2, 4), there)
    assert (weights[0] == 0).all()
    torch.testing.assert_close(weights[1].sum(), torch.tensor(1.0))
    weights.square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in attention.parameters())


@PADDINGS
def test_a_decoder_of_one_vector_takes_any_part_and_the_mean_of_its_regions(padding: float) -> None:
    decoder = NeuralTalk(V, SPEC, GRU, image="objects", embedding_size=6, hidden_size=7)
    assert decoder.reads == ("objects",)
    means = torch.stack([there.mean(0) for there in objects()])
    by_vector = NeuralTalk(V, SPEC, GRU, image="whole", embedding_size=6, hidden_size=7)
    by_vector.load_state_dict(decoder.state_dict())
    torch.testing.assert_close(decoder(batch(padding), TOKENS), by_vector(Features(whole=means), TOKENS))


def test_a_part_that_is_not_there_or_has_no_regions_is_a_sentence() -> None:
    with pytest.raises(CaptioningError, match=r"'pooled'.*this encoder has objects, whole"):
        NeuralTalk(V, SPEC, GRU)
    for kind in {kind for kind, _ in KINDS.values()}:
        cell = {"cell": GRU} if issubclass(kind, RecurrentDecoder) else {}
        with pytest.raises(CaptioningError, match=r"'grid'.*this encoder has objects, whole"):
            kind(V, SPEC, **cell)
        with pytest.raises(CaptioningError, match=r"^decoder\.attends=whole: this part is a single vector"):
            kind(V, SPEC, attends="whole", **cell)
