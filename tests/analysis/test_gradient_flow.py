"""The gradient's way back through time: against the products of Jacobians written out, and against their bound."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from captioning.analysis.gradient_flow import (
    Flow,
    Training,
    measure_flow,
    scale_whh,
    train_to_remember,
)
from captioning.cells import GRU, LSTM, RNN, NoForgetGateLSTM, Recurrent
from captioning.report.gradient_flow import draw_flows, draw_trainings

E, H, T, N = 3, 5, 9, 4


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def test_an_rnn_s_flow_is_the_product_of_its_jacobians() -> None:
    """``∂L/∂h_t = u diag(1 - h_T²) Whh … diag(1 - h_{t+1}²) Whh``."""
    network = Recurrent(RNN, E, H).double()
    x, u = torch.randn(T, N, E).double(), torch.randn(N, H).double()
    flow = measure_flow(network, x, u)
    cell = network.layer(0)
    Wxh, Whh = cell.Wxh.weight.detach(), cell.Whh.weight.detach()
    bias = cell.Wxh.bias.detach() + cell.Whh.bias.detach()
    norms = np.empty((T + 1, N))
    for n in range(N):
        h = [torch.zeros(H).double()]
        for t in range(T):
            h.append(torch.tanh(Wxh @ x[t, n] + Whh @ h[-1] + bias))
        back = u[n] / u[n].norm()
        norms[T, n] = back.norm()
        for t in range(T, 0, -1):
            back = back @ torch.diag(1 - h[t] ** 2) @ Whh
            norms[t - 1, n] = back.norm()
    np.testing.assert_allclose(flow.hidden[:, 0], np.exp(np.log(norms).mean(1)), rtol=1e-9)
    np.testing.assert_allclose(flow.state, flow.hidden[:, 0])
    assert flow.memory is None
    assert flow.rate == pytest.approx((flow.state[0] / flow.state[-1]) ** (1 / T))


@settings(max_examples=25, deadline=None)
@given(largest=st.floats(0.1, 1.0), seed=st.integers(0, 2**31), spread=st.floats(0.0, 3.0))
def test_below_one_an_rnn_s_gradient_is_bounded_by_the_power_of_the_singular_value(
    largest: float, seed: int, spread: float
) -> None:
    torch.manual_seed(seed)
    network = Recurrent(RNN, E, H).double()
    scale_whh(network, largest)
    flow = measure_flow(network, spread * torch.randn(T, N, E).double())
    bound = largest ** np.arange(T, -1, -1)
    assert (flow.state <= bound * (1 + 1e-9)).all()


@pytest.mark.parametrize("cell", [RNN, LSTM, GRU])
def test_every_block_and_layer_is_scaled(cell: type) -> None:
    network = Recurrent(cell, E, H, depth=2)
    scale_whh(network, 1.7)
    for layer in range(2):
        for block in network.layer(layer).Whh.weight.detach().split(H):
            assert torch.linalg.svdvals(block)[0].item() == pytest.approx(1.7, rel=1e-5)


def test_the_memory_s_flow_is_the_product_of_the_forget_gates_where_nothing_else_leads_back() -> None:
    """With ``Whh = 0`` the gates do not see h: ``∂c_T/∂c_t = Π f``."""
    network = Recurrent(LSTM, E, H).double()
    with torch.no_grad():
        network.layer(0).Whh.weight.zero_()
    x, u = torch.randn(T, 1, E).double(), torch.eye(H).double()[:1]
    flow = measure_flow(network, x, u)
    assert flow.memory is not None
    cell = network.layer(0)
    state = cell.initial(1, like=x)
    forget = []
    for t in range(T):
        terms = cell.input(x[t])
        forget.append(cell.gates_of(terms, state)["f"][0, 0].item())
        state = cell(terms, state)
    ratios = flow.memory[:-1, 0] / flow.memory[1:, 0]
    np.testing.assert_allclose(ratios[: T - 1], forget[: T - 1], rtol=1e-9)


def test_forget_gates_decide_how_far_back_a_gradient_comes() -> None:
    x = torch.randn(30, 8, 16)

    def rate(**settings: float) -> float:
        torch.manual_seed(1)
        return measure_flow(Recurrent(lambda **sizes: LSTM(**sizes, **settings), 16, 32), x).rate

    torch.manual_seed(1)
    none = measure_flow(Recurrent(NoForgetGateLSTM, 16, 32), x).rate
    assert rate() < 0.75 < rate(forget_bias=1.0) < rate(forget_bias=3.0) < none


def test_depth_has_a_column_each_and_a_single_layer_gets_all_from_itself() -> None:
    flow = measure_flow(Recurrent(GRU, E, H, depth=3), torch.randn(T, N, E))
    assert flow.hidden.shape == (T + 1, 3)
    assert flow.hidden[T, 2] == pytest.approx(1) and (flow.hidden[T, :2] < 1e-30).all()  # L reads the top layer alone
    assert (flow.hidden[:T] > 0).all()


@pytest.mark.parametrize("clipping", [{"clip_norm": 1e-4}, {"clip_value": 1e-4}])
def test_clipping_bounds_what_an_update_moves(clipping: dict[str, float]) -> None:
    def moved(**settings: float) -> tuple[float, float]:
        torch.manual_seed(0)
        network = Recurrent(RNN, 1, H)
        before = {name: weight.detach().clone() for name, weight in network.named_parameters()}
        train_to_remember(network, 3, updates=1, **settings)  # type: ignore[arg-type]
        steps = [(weight.detach() - before[name]).flatten() for name, weight in network.named_parameters()]
        return torch.cat(steps).norm().item(), torch.cat(steps).abs().max().item()

    free, clipped = moved(), moved(**clipping)
    assert free[1] > 1e-3
    assert clipped["clip_value" in clipping] <= 1.01e-4
    assert clipped[0] > 1e-5


def test_what_was_first_is_remembered() -> None:
    network = Recurrent(RNN, 1, 16)
    scale_whh(network, 2.0)
    training = train_to_remember(network, 4, updates=60, clip_norm=1.0)
    assert np.mean(training.losses[:3]) > 0.5 > 0.1 > np.mean(training.losses[-10:])
    assert len(training.norms) == 60


def test_drawings(tmp_path: Path) -> None:
    flow = Flow(np.geomspace(1e-6, 1, T + 1)[:, None])
    draw_flows({"a": {"one": flow}, "b": {"one": flow, "two": flow}}, tmp_path / "flow.png")
    draw_trainings({"a": {"x": Training([1.0, 0.5], [2.0, 0.1])}}, tmp_path / "training.png")
    for name in ("flow.png", "training.png"):
        assert np.asarray(Image.open(tmp_path / name).convert("L")).std() > 5
