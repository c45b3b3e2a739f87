"""Variants of the LSTM as special cases of torch's own, and the mutations against their equations."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from captioning.cells import GRU, LSTM, MUT1, MUT2, MUT3, Cell, CoupledLSTM, MaxoutLSTM, NoForgetGateLSTM, PeepholeLSTM

E, H, P, N, T = 5, 7, 3, 4, 6


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def run(cell: Cell, x: Tensor) -> Tensor:
    """``(T, N, E)`` to the hidden states ``(T, N, H)``."""
    hidden, _ = cell.run(x.flatten(0, 1), [N] * T, cell.initial(N, like=x))
    return hidden.view(T, N, H)


def theirs(cell: Cell, forget: Callable[[Tensor], Tensor]) -> nn.LSTM:
    """torch's LSTM with the gates i, g, o of ours, and f made from those of i."""
    oracle = nn.LSTM(E, H)
    for name, matrix in {"ih": cell.Wxh, "hh": cell.Whh}.items():
        for kind in ("weight", "bias"):
            i, g, o = getattr(matrix, kind).detach().chunk(3)
            getattr(oracle, f"{kind}_{name}_l0").data = torch.cat([i, forget(i), g, o])
    return oracle


def test_coupled_gates_are_an_lstm_whose_forget_gate_is_one_minus_the_input_gate() -> None:
    cell, x = CoupledLSTM(E, H), torch.randn(T, N, E)
    torch.testing.assert_close(run(cell, x), theirs(cell, torch.neg)(x)[0])  # σ(-a) = 1 - σ(a)


def test_no_forget_gate_is_an_lstm_whose_forget_gate_is_one() -> None:
    cell, x = NoForgetGateLSTM(E, H), torch.randn(T, N, E)
    oracle = theirs(cell, torch.zeros_like)
    oracle.bias_ih_l0.data[H : 2 * H] = 100.0
    torch.testing.assert_close(run(cell, x), oracle(x)[0])


def test_closed_peepholes_leave_an_lstm_and_open_ones_show_each_gate_the_memory() -> None:
    cell, plain, x = PeepholeLSTM(E, H), LSTM(E, H), torch.randn(T, N, E)
    plain.load_state_dict({name: weight for name, weight in cell.state_dict().items() if name != "peepholes"})
    assert not torch.allclose(run(cell, x), run(plain, x))
    terms, (h, c) = cell.input(x[0]), torch.randn(2, N, H)
    i, f, g, o = (terms + cell.Whh(h)).chunk(4, -1)
    p_i, p_f, p_o = cell.peepholes
    memory = torch.sigmoid(f + p_f * c) * c + torch.sigmoid(i + p_i * c) * torch.tanh(g)
    hidden = torch.sigmoid(o + p_o * memory) * torch.tanh(memory)
    torch.testing.assert_close(cell(terms, torch.cat([h, c], -1)), torch.cat([hidden, memory], -1))
    with torch.no_grad():
        cell.peepholes.zero_()
    torch.testing.assert_close(run(cell, x), run(plain, x))


def test_a_maxout_lstm_keeps_the_larger_candidate_without_tanh() -> None:
    cell, x = MaxoutLSTM(E, H), torch.randn(N, E)
    terms, (h, c) = cell.input(x), torch.randn(2, N, H)
    i, f, o, a, b = (x @ cell.Wxh.weight.T + cell.Wxh.bias + cell.Whh(h)).split(H, dim=-1)
    candidate = torch.where(a > b, a, b)
    memory = torch.sigmoid(f) * c + torch.sigmoid(i) * candidate
    expected = torch.cat([torch.sigmoid(o) * torch.tanh(memory), memory], -1)
    torch.testing.assert_close(cell(terms, torch.cat([h, c], -1)), expected)
    assert candidate.abs().max() > 1 or cell(terms * 9, torch.cat([h, c], -1))[:, H:].abs().max() > 1


@pytest.mark.parametrize("size", [E, H])
def test_the_mutations_are_their_equations(size: int) -> None:
    x, h = torch.randn(N, size), torch.randn(N, H)
    one, two, three = MUT1(size, H), MUT2(size, H), MUT3(size, H)

    z = torch.sigmoid(x @ one.Wxh.weight[:H].T + one.Wxh.bias[:H])
    r = torch.sigmoid(x @ one.Wxh.weight[H:].T + one.Wxh.bias[H:] + h @ one.Whh.weight[:H].T + one.Whh.bias[:H])
    plain = x if size == H else one.width(x)
    n = torch.tanh((r * h) @ one.Whh.weight[H:].T + one.Whh.bias[H:] + torch.tanh(plain))
    torch.testing.assert_close(one(one.input(x), h), n * z + h * (1 - z))

    z = torch.sigmoid(x @ two.Wxh.weight[:H].T + two.Wxh.bias[:H] + two.Whh(h)[:, H : 2 * H])
    r = torch.sigmoid((x if size == H else two.width(x)) + two.Whh(h)[:, :H])
    n = torch.tanh(two.Whh(r * h)[:, 2 * H :] + two.Wxh(x)[:, H:])
    torch.testing.assert_close(two(two.input(x), h), n * z + h * (1 - z))

    z = torch.sigmoid(three.Wxh(x)[:, H : 2 * H] + three.Whh(torch.tanh(h))[:, H : 2 * H])
    r = torch.sigmoid(three.Wxh(x)[:, :H] + three.Whh(h)[:, :H])
    n = torch.tanh(three.Whh(r * h)[:, 2 * H :] + three.Wxh(x)[:, 2 * H :])
    torch.testing.assert_close(three(three.input(x), h), n * z + h * (1 - z))


@pytest.mark.parametrize("kind", [PeepholeLSTM, CoupledLSTM, NoForgetGateLSTM, MUT1, MUT2, MUT3, GRU])
def test_every_number_of_every_weight_is_used(kind: type[Cell]) -> None:
    cell = kind(E, H, P)
    state = torch.randn(N, cell.memories * H)
    cell(cell.input(torch.randn(N, E)) + cell.image(torch.randn(N, P)), state).square().sum().backward()
    for name, parameter in cell.named_parameters():
        assert (parameter.grad != 0).all(), name
