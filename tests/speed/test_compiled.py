"""torch.compile changes nothing but the time that a step takes."""

import shutil
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from captioning.cells import GRU, LSTM, RNN, Cell
from captioning.core.errors import CaptioningError
from captioning.core.features import NO_FEATURES, Features, FeatureSpec
from captioning.core.packing import Packing
from captioning.decoders import LanguageModel, NeuralTalk, ShowAttendTell
from captioning.speed import make_fast, recurrence
from captioning.speed.attention import weigh
from captioning.speed.recurrence import FastCell

B, L, D, V = 3, 6, 5, 11


def make() -> ShowAttendTell:
    torch.manual_seed(0)
    sizes = {"embedding_size": 8, "hidden_size": 8, "attention_size": 16}
    return make_fast(ShowAttendTell(V, FeatureSpec(pooled=(D,), grid=(2, 3, D)), LSTM, **sizes).train())


def step(decoder: ShowAttendTell, lengths: list[list[int]], regions: list[int] | None = None) -> list[Tensor]:
    """The losses of a batch, and all gradients."""
    torch.manual_seed(1)
    tokens = torch.randint(4, V, (B, 2, 7)) * (torch.arange(7) < torch.tensor(lengths).unsqueeze(-1))
    there = {"grid": torch.tensor(regions)} if regions else {}
    features, packing = Features(there, grid=torch.randn(B, L, D)), Packing.of(tokens)
    words = packing.pack(tokens)
    outputs = decoder.teacher_force(features, words, packing)
    loss = F.cross_entropy(decoder.logits(outputs.hidden), words)
    extra = decoder.losses(outputs, features, packing, torch.zeros(len(words)))["doubly_stochastic"].mean
    decoder.zero_grad()
    (loss + extra).backward()
    return [loss, extra, *(p.grad.clone() for p in decoder.parameters() if p.grad is not None)]


needs_compiler = pytest.mark.skipif(
    not (shutil.which("g++") or shutil.which("clang++")), reason="torch.compile needs a C++ compiler"
)


@pytest.fixture
def traced(monkeypatch: pytest.MonkeyPatch) -> None:
    """torch.compile, up to the operations and their gradients; a C++ compiler takes ten seconds for each function."""
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager"))


@needs_compiler
def test_a_compiled_step_is_the_plain_one() -> None:
    plain, compiled = make(), make()
    assert make_fast(compiled, compiled=True) is compiled
    assert compiled.state_dict().keys() == plain.state_dict().keys()
    graphs = torch._dynamo.utils.counters["stats"]["unique_graphs"]
    for lengths in ([[3, 7], [7, 0], [4, 2]], [[5, 5], [5, 2], [6, 6]]):
        torch.testing.assert_close(step(compiled, lengths), step(plain, lengths), atol=1e-5, rtol=1e-4)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] > graphs


@needs_compiler
@pytest.mark.usefixtures("traced")
def test_no_shape_is_compiled_anew() -> None:
    plain, compiled = make(), make_fast(make(), compiled=True)
    before = torch._dynamo.utils.counters["stats"]["unique_graphs"]
    some = [[3, 7], [1, 0], [4, 2]], [6, 1, 4]
    for batch in (([[3, 7], [1, 0], [4, 2]],), ([[5, 5], [5, 2], [6, 1]],), some):
        torch.testing.assert_close(step(compiled, *batch), step(plain, *batch), atol=1e-5, rtol=1e-4)
    graphs = torch._dynamo.utils.counters["stats"]["unique_graphs"]
    assert 1 <= graphs - before <= 4  # one row and several, with a mask and without
    step(compiled, [[2, 2], [4, 3], [4, 7]])
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == graphs


@needs_compiler
@pytest.mark.parametrize(
    ("cell", "half", "streams", "chunk"),
    [(RNN, False, 3, 8), (GRU, False, 1, 6), (LSTM, True, 3, 7), (RNN, False, 1, 2), (RNN, False, 3, 2)],
    ids=["rnn, a rest", "gru, no rest", "lstm in half, a rest", "one stream, too short", "three streams, too short"],
)
def test_a_compiled_text_is_the_plain_one(
    cell: type[Cell],
    half: bool,
    streams: int,
    chunk: int,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> None:
    """Two layers that read blocks of three characters, compiled, and what is left, plainly."""
    if cell is not RNN:
        request.getfixturevalue("traced")
    monkeypatch.setattr(recurrence, "STEPS_AT_ONCE", 3)
    words, targets = torch.randint(V, (2, chunk * streams), generator=torch.Generator().manual_seed(0))
    packing, rows = Packing.even(streams, chunk), []

    def train(compiled: bool) -> list[Tensor]:
        torch.manual_seed(0)
        decoder = LanguageModel(V, NO_FEATURES, cell, embedding_size=8, hidden_size=16, depth=2, layer_dropout=0.5)
        make_fast(decoder, compiled)
        if compiled:
            for part in decoder.modules():
                if isinstance(part, FastCell):
                    part.compiled_steps = counted(part.compiled_steps)
        state = decoder.start(Features.none(streams)).map(lambda part: torch.full_like(part, 0.1).requires_grad_())
        (before,) = state.sequence.values()
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            outputs, after = decoder.teacher_force_from(state, words, packing)
            loss = F.cross_entropy(decoder.logits(outputs.hidden).float(), targets)
        (loss + after.sequence["hidden"].float().square().mean()).backward()
        found = [loss, after.sequence["hidden"], before.grad, *(p.grad for p in decoder.parameters())]
        with torch.no_grad():
            return [*found, decoder.teacher_force_from(state, words, packing)[0].hidden]

    def counted(steps: Callable[..., Any]) -> Callable[..., Any]:
        return lambda cell, terms, state: (rows.append(len(terms)), steps(cell, terms, state))[1]

    graphs = torch._dynamo.utils.counters["stats"]["unique_graphs"]
    tolerance = {"atol": 2e-2, "rtol": 5e-2} if half else {"atol": 1e-6, "rtol": 1e-4}
    torch.testing.assert_close(train(compiled=True), train(compiled=False), **tolerance)
    assert rows == [3 * streams] * (chunk // 3) * 2  # of two layers, in training alone
    assert bool(rows) == (torch._dynamo.utils.counters["stats"]["unique_graphs"] > graphs)


def test_without_attention_there_is_nothing_to_compile(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO"):
        make_fast(NeuralTalk(V, FeatureSpec(pooled=(D,)), LSTM, embedding_size=8, hidden_size=8), compiled=True)
    assert "NeuralTalk has no additive attention" in caplog.text


def test_without_a_compiler_it_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(CaptioningError, match="compile=true needs a C"):
        make_fast(make(), compiled=True)


def test_it_is_for_training_alone() -> None:
    decoder = make()
    decoder.attention.weigh = None  # type: ignore[assignment]
    with torch.no_grad():
        step_of_search = decoder.attention(torch.randn(2, L, 16), torch.randn(2, 8))
    assert step_of_search.shape == (2, L)
    assert make().attention.weigh is weigh
