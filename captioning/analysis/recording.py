"""Recording of the values of all units of a recurrent network along a text.

Karpathy, Johnson & Li, "Visualizing and Understanding Recurrent Networks", 2015, arXiv 1506.02078, section 4.2. As in
the paper, a memory c is recorded as tanh(c), the form in which the rest of the network receives c. A gate is
left-saturated below 0.1 and right-saturated above 0.9.

Dimensions: N sequences, T positions of the longest, M positions in total, H hidden, U units of all layers.
"""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from captioning.core.progress import progress
from captioning.core.state import State

LEFT, RIGHT = 0.1, 0.9


@runtime_checkable
class RecordedCell(Protocol):
    """The part of a recurrent layer that a recording needs (see ``captioning.cells``)."""

    hidden_size: int

    def gates_of(self, terms: Tensor, state: Tensor) -> dict[str, Tensor]:
        """The gates of a step by name."""


class RecordedDecoder(Protocol):
    """The part of a module with recurrent layers that a recording needs (see ``captioning.decoders``)."""

    def advance(self, tokens: Tensor, state: State) -> tuple[Tensor, State]:
        """Advance the state by one token of every sequence."""


@dataclass(frozen=True)
class Unit:
    """One element of a recurrent state.

    Attributes:
        layer: the name of the cell in its decoder: ``recurrent.layers.1``.
        part: ``h``, or ``c`` for a memory.
        number: the index among H.
    """

    layer: str
    part: str
    number: int

    def __str__(self) -> str:
        """``recurrent.layers.1.c[117]``."""
        return f"{self.layer}.{self.part}[{self.number}]"


@dataclass(frozen=True)
class Saturation:
    """The saturation of the H units of one gate: fractions of positions, ``(H,)`` each."""

    left: NDArray[np.float32]
    right: NDArray[np.float32]


@dataclass(frozen=True)
class Recording:
    """The values of all units along a text.

    Attributes:
        values: ``(M, U)``, the values after each token, -1 to 1; sequence by sequence.
        units: the U units.
        lengths: the number of positions of each of the N sequences.
        gates: the saturation by cell and gate: ``gates["recurrent.layers.0"]["f"]``; empty for cells without gates.
    """

    values: NDArray[np.float32]
    units: tuple[Unit, ...]
    lengths: tuple[int, ...]
    gates: dict[str, dict[str, Saturation]]

    def of(self, unit: Unit) -> NDArray[np.float32]:
        """The values of one unit, ``(M,)``."""
        return self.values[:, self.units.index(unit)]

    @property
    def middle(self) -> int:
        """The position at half of the text, or at half of the sequences."""
        N = len(self.lengths)
        return sum(self.lengths[: N // 2]) if N > 1 else self.lengths[0] // 2


class _Probe:
    """A recorder of one cell: the last state, and the counts of saturated gates."""

    def __init__(self, cell: RecordedCell) -> None:
        self.cell = cell
        self.last = torch.empty(0)
        self.active = torch.empty(0)
        self.counts: dict[str, tuple[Tensor, Tensor]] = {}

    def __call__(self, module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> None:
        h, c = output.flatten(0, -2).tensor_split([self.cell.hidden_size], dim=-1)  # (N, H), (N, C - H)
        self.last = torch.cat([h, c.tanh()], dim=-1)
        for name, gate in self.cell.gates_of(*inputs).items():
            gate = gate.flatten(0, -2)[self.active]
            left, right = self.counts.get(name, (0, 0))
            self.counts[name] = (left + (gate < LEFT).sum(0), right + (gate > RIGHT).sum(0))


@torch.inference_mode()
def record(
    decoder: RecordedDecoder, state: State, tokens: Tensor | Sequence[int], lengths: Sequence[int] | None = None
) -> Recording:
    """Record every unit of every cell in a decoder that reads N sequences.

    Args:
        decoder: the decoder, in evaluation mode: training mode would record dropout, too.
        state: the state before the first token: ``decoder.start(features)`` of N photographs, or of
            ``Features.none(1)`` for a text.
        tokens: ``(N, T)`` tokens, or the T tokens of a single text.
        lengths: the number of each sequence's tokens without padding; T by default.
    """
    assert isinstance(decoder, nn.Module)
    tokens = torch.as_tensor(tokens)
    tokens = tokens.view(-1, tokens.shape[-1])
    N, T = tokens.shape
    lengths = tuple(lengths) if lengths is not None else (T,) * N
    there = torch.arange(T) < torch.tensor(lengths).unsqueeze(1)  # (N, T)
    probes = {name: _Probe(cell) for name, cell in decoder.named_modules() if isinstance(cell, RecordedCell)}
    modules = dict(decoder.named_modules())
    values: NDArray[np.float32] | None = None
    device = next(decoder.parameters()).device
    with ExitStack() as stack:
        for name, probe in probes.items():
            stack.callback(modules[name].register_forward_hook(probe).remove)
        for t in progress(range(T), "reading"):
            for probe in probes.values():
                probe.active = there[:, t].to(device)
            _, state = decoder.advance(tokens[:, t : t + 1].to(device), state)
            now = torch.cat([probe.last for probe in probes.values()], dim=-1).float().cpu().numpy()  # (N, U)
            if values is None:
                values = np.empty((N, T, now.shape[1]), np.float32)
            values[:, t] = now
    assert values is not None, "no token to read"
    saturated = {
        name: {
            gate: Saturation(_fraction(left, lengths), _fraction(right, lengths))
            for gate, (left, right) in probe.counts.items()
        }
        for name, probe in probes.items()
        if probe.counts
    }
    units = (unit for name, probe in probes.items() for unit in _units(name, probe.cell.hidden_size, probe.last))
    return Recording(values[there.numpy()], tuple(units), lengths, saturated)


def _fraction(count: Tensor, lengths: Sequence[int]) -> NDArray[np.float32]:
    fraction: NDArray[np.float32] = (count.float() / sum(lengths)).cpu().numpy()
    return fraction


def _units(layer: str, hidden: int, state: Tensor) -> list[Unit]:
    parts = ("h", "c")[: state.shape[-1] // hidden]
    return [Unit(layer, part, number) for part in parts for number in range(hidden)]
