"""Language models of characters: training against torch.nn.LSTM in a bare loop, and how fast one writes."""

import time
from collections.abc import Callable
from itertools import islice
from statistics import median
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from captioning.cells import GRU, LSTM, RNN, Cell
from captioning.core.features import NO_FEATURES, Features
from captioning.core.packing import Packing
from captioning.decoders import LanguageModel
from captioning.search import Sample
from captioning.search.writing import write
from captioning.speed import make_fast
from captioning.training.objectives import word_loss

B, T, H, V, DEPTH = 64, 100, 512, 65, 2


def model() -> LanguageModel:
    torch.manual_seed(0)
    return make_fast(LanguageModel(V, NO_FEATURES, LSTM, one_hot=True, hidden_size=H, depth=DEPTH))


def trained(parameters: Any, loss: Callable[[], Tensor]) -> Callable[[], None]:
    """A training step as both do it: backwards, clipped, Adam."""
    weights = [parameter for parameter in parameters if parameter.requires_grad]
    optimizer = torch.optim.Adam(weights, 2e-3, fused=True)

    def step() -> None:
        optimizer.zero_grad()
        loss().backward()
        nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()

    return step


@pytest.mark.slow
@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
def test_training(precision: torch.dtype, race: Callable, device: torch.device) -> None:
    text = torch.randint(V, (T + 1, B), device=device)
    words, targets, packing = text[:-1].flatten(), text[1:].flatten(), Packing.even(B, T).to(device)
    half = torch.autocast(device.type, precision, enabled=precision != torch.float32)
    ours = model().to(device)
    carried = {"ours": ours.start(Features.none(B, device))}

    def our_loss() -> Tensor:
        with half:
            outputs, state = ours.teacher_force_from(carried["ours"], words, packing)
            loss = word_loss(ours, outputs.hidden, targets)[0] / len(targets)
        carried["ours"] = state.map(torch.detach)
        return loss

    theirs = nn.ModuleDict({"lstm": nn.LSTM(V, H, DEPTH), "word_layer": nn.Linear(H, V)}).to(device)
    memory: list[tuple[Tensor, Tensor] | None] = [None]

    def their_loss() -> Tensor:
        with half:
            hidden, (h, c) = theirs["lstm"](F.one_hot(text[:-1], V).float(), memory[0])
            logits = theirs["word_layer"](hidden.flatten(0, 1))
        memory[0] = (h.detach(), c.detach())
        return F.cross_entropy(logits.float(), targets)

    race(
        f"training 2 × 512 LSTM, batch 64, T = 100, {str(precision).removeprefix('torch.')}",
        trained(ours.parameters(), our_loss),
        trained(theirs.parameters(), their_loss),
        count=B * T,
        unit="characters",
        against="torch.nn.LSTM in a bare loop",
        at_least=0.8,
        rounds=3,
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("cell", "streams", "chunk", "hidden", "depth", "precision"),
    [
        (RNN, 1, 25, 100, 1, torch.float32),  # experiment=min_char_rnn
        (GRU, B, T, H, DEPTH, torch.float32),
        (LSTM, B, T, H, DEPTH, torch.bfloat16),  # in single precision it is oneDNN's own
    ],
    ids=["min-char-rnn", "GRU", "LSTM"],
)
def test_compiled(
    cell: type[Cell],
    streams: int,
    chunk: int,
    hidden: int,
    depth: int,
    precision: torch.dtype,
    race: Callable,
    device: torch.device,
) -> None:
    words, targets = torch.randint(V, (2, chunk * streams), device=device)
    packing = Packing.even(streams, chunk).to(device)

    def step(compiled: bool) -> Callable[[], None]:
        decoder = LanguageModel(V, NO_FEATURES, cell, one_hot=True, hidden_size=hidden, depth=depth).to(device)
        make_fast(decoder, compiled)

        def loss() -> Tensor:
            with torch.autocast(device.type, precision, enabled=precision != torch.float32):
                outputs = decoder.teacher_force(Features.none(streams, device), words, packing)
                return word_loss(decoder, outputs.hidden, targets)[0] / len(targets)

        return trained(decoder.parameters(), loss)

    what = f"compile=true, {depth} × {hidden} {cell.__name__}, batch {streams}, T = {chunk}"
    race(
        f"{what}, {str(precision).removeprefix('torch.')}",
        step(compiled=True),
        step(compiled=False),
        count=streams * chunk,
        unit="characters",
        against="compile=false",
        at_least=1.0,
        rounds=5 if streams > 1 else 50,
    )


def test_writing(report: Callable, device: torch.device) -> None:
    torch.set_num_threads(1)
    text = write(model().eval().to(device), [0], Sample(temperature=0.8, seed=0), device)
    times = []
    for _ in range(4):
        begin = time.perf_counter()
        list(islice(text, 100))
        times.append(time.perf_counter() - begin)
    rate = 100 / median(times[1:])
    report("writing, 2 × 512 LSTM, one thread", rate, "characters", 500.0, "what is asked for", at_least=1.0)
