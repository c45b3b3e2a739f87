"""The cells against torch's own, and the packed run against the loop of steps."""

import pytest
import torch
from torch import nn

from captioning.cells import GRU, LSTM, RNN, Cell, Recurrent
from captioning.core.packing import Packing

E, H, P, N, T = 5, 7, 3, 4, 6
ORACLES = {RNN: nn.RNN, LSTM: nn.LSTM, GRU: nn.GRU}


@pytest.mark.parametrize("kind", ORACLES)
@pytest.mark.parametrize("depth", [1, 3])
def test_agrees_with_torch_when_wih_is_zero(kind: type[Cell], depth: int) -> None:
    ours = Recurrent(kind, E, H, depth, image_size=P)
    with torch.no_grad():
        ours.layer(0).Wih.weight.zero_()
    theirs = ORACLES[kind](E, H, depth)
    for layer in range(depth):
        for name, matrix in {"ih": ours.layer(layer).Wxh, "hh": ours.layer(layer).Whh}.items():
            getattr(theirs, f"weight_{name}_l{layer}").data = matrix.weight.data
            getattr(theirs, f"bias_{name}_l{layer}").data = matrix.bias.data
    x = torch.randn(T, N, E)
    image = ours.image(torch.randn(N, P))
    expected, _ = theirs(x)
    state = ours.initial(N, like=x)
    for t in range(T):
        output, state = ours.step(x[t], state, image)
        torch.testing.assert_close(output, expected[t])
    output, _ = ours.run(x.flatten(0, 1), [N] * T, ours.initial(N, like=x), image.repeat(T, 1))
    torch.testing.assert_close(output.view(T, N, H), expected)


def test_rnn_is_the_equation_of_the_lecture() -> None:
    cell = RNN(E, H, P).double()
    x, h, v = torch.randn(N, E).double(), torch.randn(N, H).double(), torch.randn(N, P).double()
    expected = torch.tanh(
        x @ cell.Wxh.weight.T + cell.Wxh.bias + h @ cell.Whh.weight.T + cell.Whh.bias + v @ cell.Wih.weight.T
    )
    torch.testing.assert_close(cell(cell.Wxh(x) + cell.image(v), h), expected)


@pytest.mark.parametrize("kind", ORACLES)
def test_the_image_enters_every_gate(kind: type[Cell]) -> None:
    cell = kind(E, H, P)
    image = torch.randn(1, P, requires_grad=True)
    cell(cell.Wxh(torch.randn(1, E)) + cell.image(image), torch.randn(1, cell.memories * H)).sum().backward()
    per_gate = cell.Wih.weight.grad.abs().view(cell.gates, H, P).sum(dim=(1, 2))
    assert (per_gate > 0).all()


@pytest.mark.parametrize("kind", ORACLES)
@pytest.mark.parametrize("image_layer", [0, 1])
@pytest.mark.parametrize("every", [True, False])
def test_packed_run_is_the_loop_of_steps(kind: type[Cell], image_layer: int, every: bool) -> None:
    net = Recurrent(kind, E, H, 2, image_size=P, image_layer=image_layer)
    lengths = torch.tensor([[3, 5], [1, 0], [5, 2]])
    tokens = (torch.arange(6) < lengths.unsqueeze(-1)).long() * 9  # (3, 2, 6)
    packing = Packing.of(tokens)
    x, image = torch.randn(3, 2, 6, E), net.image(torch.randn(3, P))
    rows = packing.row_images if every else packing.images
    packed, last = net.run(packing.pack(x), packing.sizes, net.initial(len(packing.captions), like=x), image[rows])
    unpacked = packing.unpack(packed)
    for place, caption in enumerate(packing.captions.tolist()):
        b, s = divmod(caption, 2)
        state = net.initial(like=x)
        for t in range(lengths[b, s]):
            output, state = net.step(x[b, s, t], state, image[b] if every or t == 0 else None)
            torch.testing.assert_close(unpacked[b, s, t], output)
        torch.testing.assert_close(last[place], state)
    assert unpacked[1, 1].abs().sum() == 0


def test_forget_bias() -> None:
    cell = LSTM(E, H, forget_bias=1.0)
    bias = cell.Wxh.bias + cell.Whh.bias
    assert (bias[H : 2 * H] == 1).all()
    assert (bias[:H] != 1).all()
