"""Attention on attention: the refined regions and two steps by hand, a head and a region after the other."""

import pytest
import torch
from torch import Tensor

from captioning.cells import GRU, LSTM, Cell
from captioning.core.errors import CaptioningError
from captioning.core.features import Features, FeatureSpec
from captioning.decoders import AttentionOnAttention
from captioning.decoders.attention_on_attention import AoA

D, L, V, E, H, HEADS = 4, 3, 9, 5, 6, 2


def make(cell: type[Cell] = LSTM, **settings: int) -> AttentionOnAttention:
    torch.manual_seed(0)
    sizes = {"embedding_size": E, "hidden_size": H, "heads": HEADS, "refining_layers": 2}
    return AttentionOnAttention(V, FeatureSpec(grid=(1, L, D)), cell, **{**sizes, **settings}).double().eval()


def attend(query: Tensor, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
    """What one query attends to, and the mean of the weights over the heads."""
    slices, weights = [], []
    for q, k, v in zip(query.chunk(HEADS), keys.chunk(HEADS, dim=-1), values.chunk(HEADS, dim=-1), strict=True):
        weights.append((k @ q / (H / HEADS) ** 0.5).softmax(0))
        slices.append(weights[-1] @ v)
    return torch.cat(slices), torch.stack(weights).mean(0)


def on(aoa: AoA, query: Tensor, attended: Tensor) -> Tensor:
    """The attention on attention of one query."""
    (Wqi, Wqg), (Wvi, Wvg), (bi, bg) = (each.chunk(2) for each in (aoa.Wq.weight, aoa.Wv.weight, aoa.Wq.bias))
    return torch.sigmoid(Wqg @ query + Wvg @ attended + bg) * (Wqi @ query + Wvi @ attended + bi)


@pytest.mark.parametrize(("cell", "layers"), [(LSTM, 2), (LSTM, 0), (GRU, 1)])
def test_two_steps_are_the_paper(cell: type[Cell], layers: int) -> None:
    decoder = make(cell, refining_layers=layers)
    grid = torch.randn(1, L, D).double()
    A = decoder.regions(grid[0])
    assert len(decoder.refining) == layers
    for layer in decoder.refining:
        queries, keys, values = layer.Wqkv(A).chunk(3, dim=-1)
        refined = [on(layer.aoa, query, attend(query, keys, values)[0]) for query in queries]
        A = layer.norm(A + torch.stack(refined))
    recurrent, context = decoder.recurrent.layer(0), torch.zeros(H).double()
    W = torch.cat([recurrent.Wxh.weight, recurrent.Wih.weight], dim=1)
    state, ours = torch.zeros(recurrent.memories * H).double(), decoder.start(Features(grid=grid))
    for word in (5, 8):
        x = torch.cat([decoder.embedding.weight[word], A.mean(0) + context])
        state = recurrent(W @ x + recurrent.Wxh.bias, state)
        query = decoder.query(state[:H])
        attended, weights = attend(query, decoder.key(A), decoder.value(A))
        context = on(decoder.aoa, query, attended)
        logits, ours = decoder.step(torch.tensor([[word]]), ours)
        torch.testing.assert_close(logits[0, 0], decoder.word_layer(context))
        torch.testing.assert_close(ours.sequence["attention"][0, 0], weights)


def test_settings_out_of_range_are_a_sentence() -> None:
    with pytest.raises(CaptioningError, match=r"^decoder\.refining_layers=-1: take 1 or more"):
        make(refining_layers=-1)
    with pytest.raises(CaptioningError, match=r"^decoder\.heads=4: take a number of heads that divides 6"):
        make(heads=4)
