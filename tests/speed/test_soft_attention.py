"""Soft attention whose gradients are written out is the plain one: values, traces, states and gradients."""

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from captioning.cells import GRU, LSTM
from captioning.core.features import Features, FeatureSpec
from captioning.core.packing import Packing
from captioning.decoders import ShowAttendTell
from captioning.speed import make_fast, soft_attention

B, S, T, L, D, V, H = 4, 2, 6, 5, 7, 17, 8
RAGGED, EVEN, ONE = [[3, 6], [1, 0], [4, 2], [0, 0]], [[5, 5]] * B, [[0, 0], [0, 3], [0, 0], [0, 0]]
SPEC = FeatureSpec(pooled=(D,), grid=(1, L, D))
Loss = Callable[[dict[str, Tensor]], Tensor]


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """One entry for every loop over words that is one node of the graph."""
    calls: list[str] = []
    written_out = soft_attention._Words.apply
    monkeypatch.setattr(soft_attention._Words, "apply", lambda *args: (calls.append("words"), written_out(*args))[1])
    return calls


def make(cell: type = LSTM, **settings: object) -> ShowAttendTell:
    torch.manual_seed(0)
    sizes = {"embedding_size": H, "hidden_size": H, "attention_size": 6}
    return ShowAttendTell(V, SPEC, cell, **sizes, **settings).double()


def weighed(values: dict[str, Tensor]) -> Tensor:
    """A sum to which every value counts differently."""
    return torch.stack([(x * torch.linspace(-1, 2, x.numel()).view_as(x)).sum() for x in values.values()]).sum()


def found(
    decoder: ShowAttendTell,
    lengths: list[list[int]] = RAGGED,
    *,
    regions: list[int] | None = None,
    from_a_state: bool = False,
    loss: Loss = weighed,
    of_grid: bool = True,
) -> dict[str, Tensor]:
    """What reading captions returns, and the gradients of a loss."""
    torch.manual_seed(1)
    dtype = decoder.gate.weight.dtype
    grid = torch.randn(B, L, D, dtype=dtype).requires_grad_(of_grid)
    tokens = torch.randint(4, V, (B, S, T)) * (torch.arange(T) < torch.tensor(lengths).unsqueeze(-1))
    packing = Packing.of(tokens)
    state = decoder.start(Features({"grid": torch.tensor(regions)} if regions else {}, grid=grid))
    if from_a_state:  # one that each caption has for itself
        _, state = decoder.advance(torch.arange(4, 4 + B * S).view(B, S), state)
    outputs, after = decoder.teacher_force_from(state, packing.pack(tokens), packing)
    values = {"outputs": outputs.hidden, "attention": outputs.trace["attention"], "state": after.sequence["hidden"]}
    decoder.zero_grad()
    loss(values).backward()
    wanted = {name: each for name, each in [*decoder.named_parameters(), ("grid", grid)] if each.grad is not None}
    return values | {f"gradient of {name}": each.grad.clone() for name, each in wanted.items()}


def both(cell: type = LSTM, **settings: object) -> tuple[ShowAttendTell, ShowAttendTell]:
    """A plain decoder and its fast copy."""
    plain = make(cell, **settings)
    return plain, make_fast(copy.deepcopy(plain))


@pytest.mark.parametrize("lengths", [RAGGED, EVEN, ONE], ids=["ragged", "even", "one caption"])
@pytest.mark.parametrize("regions", [None, [5, 2, 3, 1], [0, 0, 4, 5]], ids=["all", "some", "none of two"])
@pytest.mark.parametrize("from_a_state", [False, True])
def test_values_and_gradients(
    lengths: list[list[int]], regions: list[int] | None, from_a_state: bool, taken: list[str]
) -> None:
    plain, fast = both()
    settings = {"regions": regions, "from_a_state": from_a_state}
    expected = found(plain, lengths, **settings)
    assert not taken
    torch.testing.assert_close(found(fast, lengths, **settings), expected)
    assert taken and len(expected) > 20


@pytest.mark.parametrize("output", ["outputs", "attention", "state"])
def test_only_one_output_counts(output: str, taken: list[str]) -> None:
    plain, fast = both()

    def loss(values: dict[str, Tensor]) -> Tensor:
        return values[output].square().sum()

    torch.testing.assert_close(found(fast, loss=loss), found(plain, loss=loss))
    assert taken


@pytest.mark.parametrize("frozen", ["grid", "attention", "recurrent", "gate", "initial"])
def test_frozen_parts_have_no_gradient(frozen: str, taken: list[str]) -> None:
    plain, fast = both()
    for decoder in (plain, fast):
        for name, weight in decoder.named_parameters():
            weight.requires_grad_(not name.startswith(frozen))
    expected = found(plain, of_grid=frozen != "grid")
    torch.testing.assert_close(found(fast, of_grid=frozen != "grid"), expected)
    assert taken and not any(name.startswith(f"gradient of {frozen}") for name in expected)


def test_a_second_backward_is_the_first(taken: list[str]) -> None:
    """What was kept for the gradients is not changed by computing them."""
    _, fast = both()

    def twice(values: dict[str, Tensor]) -> Tensor:
        loss = weighed(values)
        loss.backward(retain_graph=True)
        once = [weight.grad.clone() for weight in fast.parameters() if weight.grad is not None]
        fast.zero_grad()
        loss.backward(retain_graph=True)
        torch.testing.assert_close([weight.grad for weight in fast.parameters() if weight.grad is not None], once)
        fast.zero_grad()
        return loss

    found(fast, loss=twice)
    assert taken


def test_half_precision_is_as_near_to_the_truth_as_the_plain_loop(taken: list[str]) -> None:
    plain, fast = (decoder.float() for decoder in both())
    truth = found(plain)
    with torch.autocast("cpu", torch.bfloat16):
        half, ours = found(plain), found(fast)
    assert taken
    for name, exact in truth.items():
        assert ours[name].dtype == half[name].dtype or "gradient" not in name
        error, plain_error = ((values[name].float() - exact).norm() for values in (ours, half))
        assert error <= 1.5 * plain_error + 0.01 * exact.norm(), name


@pytest.mark.parametrize("other", ["hard", "two layers", "gru", "evaluation", "compiled"])
def test_all_others_are_the_loops(other: str, taken: list[str]) -> None:
    settings = {"hard": {"attention": "hard"}, "two layers": {"depth": 2}, "gru": {"cell": GRU}}.get(other, {})
    _, fast = both(**settings)
    if other == "compiled":
        fast.attention.weigh = lambda *args: soft_attention.weigh(*args)
    if other == "evaluation":
        with torch.no_grad():
            fast(Features(grid=torch.randn(B, L, D).double()), torch.randint(4, V, (B, S, T)))
    else:
        found(fast.eval())
    assert not taken
