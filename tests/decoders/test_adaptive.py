"""Adaptive attention: a step by hand, and a sentinel whose weight is as the paper says."""

from collections.abc import Callable

import pytest
import torch

from captioning.cells import GRU, LSTM, RNN, Cell, PeepholeLSTM
from captioning.core.features import Features, FeatureSpec
from captioning.core.packing import Packing
from captioning.decoders import Adaptive
from captioning.search import Beam, Greedy, Sample, Search
from captioning.speed import make_fast

D, L, V, E, H = 4, 3, 9, 5, 6
SPEC = FeatureSpec(grid=(1, L, D))


def make(cell: type[Cell] = LSTM, **settings: int) -> Adaptive:
    torch.manual_seed(0)
    sizes = {"embedding_size": E, "hidden_size": H, "attention_size": 7}
    return Adaptive(V, SPEC, cell, **{**sizes, **settings}).double().eval()


@pytest.mark.parametrize(
    ("cell", "memory"),
    [(LSTM, lambda h, c: c), (PeepholeLSTM, lambda h, c: c), (GRU, lambda h, c: h), (RNN, lambda h, c: h)],
)
def test_two_steps_are_the_paper(cell: type[Cell], memory: Callable[..., torch.Tensor]) -> None:
    """Equations 6 to 16, written out with the concatenation [w; v_g] for one picture and two words."""
    decoder, grid = make(cell), torch.randn(1, L, D).double()
    v = torch.relu(grid[0] @ decoder.Wa.weight.T + decoder.Wa.bias)
    v_g = torch.relu(decoder.Wb.weight @ grid[0].mean(0) + decoder.Wb.bias)
    layer, attention = decoder.recurrent.layer(0), decoder.attention
    Wxh = torch.cat([layer.Wxh.weight, layer.Wih.weight], dim=1)
    Wx = torch.cat([decoder.Wxw.weight, decoder.Wxv.weight], dim=1)
    state, ours = torch.zeros(layer.memories * H).double(), decoder.start(Features(grid=grid))
    for word in (5, 8):
        x, before = torch.cat([decoder.embedding.weight[word], v_g]), state[:H]
        state = layer(Wxh @ x + layer.Wxh.bias, state)
        h, m = state[:H], memory(state[:H], state[-H:])
        s = torch.sigmoid(Wx @ x + decoder.Wxw.bias + decoder.Wh.weight @ before) * torch.tanh(m)
        z = [attention.score(torch.tanh(attention.key(each) + attention.query(h))) for each in v]
        z_s = attention.score(torch.tanh(attention.sentinel(s) + attention.query(h)))
        alpha, beta = torch.cat(z).softmax(0), torch.cat([*z, z_s]).softmax(0)[-1]
        context = beta * s + (1 - beta) * (alpha @ v)
        logits, ours = decoder.step(torch.tensor([[word]]), ours)
        torch.testing.assert_close(logits[0, 0], decoder.word_layer(context + h))
        torch.testing.assert_close(ours.sequence["attention"][0, 0], alpha)
        torch.testing.assert_close(ours.sequence["sentinel"][0, 0], beta)


@pytest.mark.parametrize("fast", [False, True], ids=["plain", "fast"])
def test_a_picture_without_any_region_is_left_to_the_sentinel(fast: bool) -> None:
    decoder = make_fast(make()) if fast else make()
    features = Features({"grid": torch.tensor([0, L])}, grid=torch.full((2, L, D), torch.nan).double())
    features["grid"][1] = 1.0
    tokens = torch.full((2, 1, 4), 5)
    outputs = decoder.teacher_force(features, Packing.of(tokens).pack(tokens), Packing.of(tokens))
    sentinel, attention = (Packing.of(tokens).unpack(outputs.trace[name]) for name in ("sentinel", "attention"))
    assert (sentinel[0] == 1).all() and (attention[0] == 0).all()
    assert ((sentinel[1] > 0) & (sentinel[1] < 1)).all()
    torch.testing.assert_close(attention[1].sum(-1), torch.ones(1, 4).double())
    outputs.hidden.square().sum().backward()
    assert all(p.grad.isfinite().all() for p in decoder.parameters() if p.grad is not None)


@pytest.mark.parametrize(
    "search", [Greedy(6), Beam(3, 6), Sample(6, samples=3, seed=1)], ids=["greedy", "beam", "sample"]
)
def test_a_search_returns_the_sentinel_s_weight_of_each_word(search: Search) -> None:
    decoder, features = make(), Features(grid=torch.randn(4, L, D).double())
    with torch.no_grad():
        decoder.word_layer.weight.mul_(20)
        decoder.word_layer.bias[2] = -5  # it seldom ends
    found = search(decoder, features, attention=True)
    assert found.sentinel is not None and found.attention is not None
    assert search(decoder, features).sentinel is None
    for image in range(4):
        for tokens, sentinel, attention in zip(
            found.tokens[image], found.sentinel[image], found.attention[image], strict=True
        ):
            state, fed = decoder.start(features.select(torch.tensor([image]))), 1
            for token, beta, alpha in zip(tokens, sentinel, attention, strict=True):
                if token == 0:
                    assert beta == 0
                    continue
                _, state = decoder.step(torch.tensor([[fed]]), state)
                torch.testing.assert_close(state.sequence["sentinel"][0, 0], beta)
                torch.testing.assert_close(state.sequence["attention"][0, 0], alpha)
                fed = int(token)
