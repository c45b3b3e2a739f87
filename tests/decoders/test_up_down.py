"""Top-down attention: two steps by hand, with the concatenations of the paper."""

import pytest
import torch

from captioning.cells import GRU, LSTM, Cell
from captioning.core.features import Features, FeatureSpec
from captioning.decoders import UpDown

D, L, V, E, H = 4, 3, 9, 5, 6


@pytest.mark.parametrize("cell", [LSTM, GRU])
def test_two_steps_are_the_paper(cell: type[Cell]) -> None:
    torch.manual_seed(0)
    sizes = {"embedding_size": E, "hidden_size": H, "attention_size": 7}
    decoder = UpDown(V, FeatureSpec(grid=(1, L, D)), cell, **sizes).double().eval()
    grid, attention = torch.randn(1, L, D).double(), decoder.attention
    attending, language = decoder.attending.layer(0), decoder.recurrent.layer(0)
    W1 = torch.cat([decoder.Wh2.weight, attending.Wih.weight, attending.Wxh.weight], dim=1)
    W2 = torch.cat([language.Wih.weight, language.Wxh.weight], dim=1)
    one = two = torch.zeros(language.memories * H).double()
    state = decoder.start(Features(grid=grid))
    for word in (5, 8):
        x1 = torch.cat([two[:H], grid[0].mean(0), decoder.embedding.weight[word]])
        one = attending(W1 @ x1 + attending.Wxh.bias, one)
        e = [attention.score(torch.tanh(attention.key(v) + attention.query(one[:H]))) for v in grid[0]]
        alpha = torch.cat(e).softmax(0)
        two = language(W2 @ torch.cat([alpha @ grid[0], one[:H]]) + language.Wxh.bias, two)
        logits, state = decoder.step(torch.tensor([[word]]), state)
        torch.testing.assert_close(logits[0, 0], decoder.word_layer(two[:H]))
        torch.testing.assert_close(state.sequence["attention"][0, 0], alpha)
