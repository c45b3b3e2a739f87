"""oneDNN's LSTM is ours where it is taken, and is taken where it may be."""

import pytest
import torch
from torch import Tensor

from captioning.cells import LSTM, Cell
from captioning.speed import make_fast

E, H, N, T = 5, 6, 4, 7


def run(sizes: list[int], *, by_loop: bool = False, image: bool = False, half: bool = False) -> list[Tensor]:
    """Hidden states, the last states, and all gradients."""
    torch.manual_seed(0)
    cell, x = make_fast(LSTM(E, H)), torch.randn(sum(sizes), E, requires_grad=True)
    state = torch.randn(sizes[0], 2 * H, requires_grad=True)
    term = torch.zeros(len(x), 4 * H) if image else None
    with torch.autocast("cpu", torch.bfloat16, enabled=half):
        hidden, last = Cell.run(cell, x, sizes, state, term) if by_loop else cell.run(x, sizes, state, term)
    (hidden.float().square().sum() + last.float().pow(3).sum()).backward()
    return [hidden, last, *(part.grad for part in (x, state, *cell.parameters()) if part.grad is not None)]


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> list[torch.Size]:
    """The inputs that torch's LSTM was given."""
    calls: list[torch.Size] = []
    ours = torch.lstm
    monkeypatch.setattr(torch, "lstm", lambda x, *rest: (calls.append(x.shape), ours(x, *rest))[1])
    return calls


@pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="this torch has no oneDNN")
def test_sequences_of_one_length_are_onednns(taken: list[torch.Size]) -> None:
    expected = run([N] * T, by_loop=True)
    assert taken == []
    found = run([N] * T)
    assert taken == [(T, N, E)]
    assert len(found) == 2 + 2 + 4
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("settings", [{"sizes": [4, 4, 2]}, {"image": True}, {"half": True}], ids=str)
def test_all_others_are_the_loops(settings: dict, taken: list[torch.Size]) -> None:
    settings = {"sizes": [N] * T, **settings}
    close = {"atol": 2e-2, "rtol": 2e-2} if settings.get("half") else {}  # products round to eight bits
    torch.testing.assert_close(run(**settings), run(**settings, by_loop=True), **close)
    assert taken == []


def test_without_gradients(taken: list[torch.Size]) -> None:
    torch.manual_seed(0)
    cell, x, state = make_fast(LSTM(E, H)), torch.randn(N * T, E), torch.randn(N, 2 * H)
    with torch.no_grad():
        torch.testing.assert_close(cell.run(x, [N] * T, state), Cell.run(cell, x, [N] * T, state))
    assert len(taken) == torch.backends.mkldnn.is_available()
