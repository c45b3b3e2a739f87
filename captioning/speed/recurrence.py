"""Faster loops over words: one product for the weights' gradients, compiled steps.

Dimensions: N sequences, M words in all, E input features, H hidden, G gates, C numbers of a cell's state.
"""

from collections.abc import Callable, Sequence
from itertools import islice

import torch
from torch import Tensor

from captioning.cells import Cell
from captioning.core.packing import Packing
from captioning.core.state import State
from captioning.decoders import RecurrentDecoder
from captioning.decoders.loop import Equations, PackedWords
from captioning.speed.linear import repeated

STEPS_AT_ONCE = 25  # steps that are compiled together


class FastCell(Cell):
    """A cell whose loop over words computes the gradient of its weights in one product.

    Attributes:
        compiled_steps: the compiled function of 25 steps in which no sequence ends; None without compilation.
    """

    compiled_steps: "Callable[[Cell, Tensor, Tensor], tuple[Tensor, Tensor]] | None" = None

    def run_terms(self, terms: Tensor, sizes: Sequence[int], state: Tensor) -> tuple[Tensor, Tensor]:
        """See ``Cell.run_terms``; whole blocks of compiled steps come first."""
        compiled = self.compiled_steps if torch.is_grad_enabled() and sizes[0] == sizes[-1] else None
        blocks = len(sizes) // STEPS_AT_ONCE if compiled else 0
        if not compiled or not blocks:
            with repeated(self, sizes):
                return super().run_terms(terms, sizes, state)
        rest = sizes[blocks * STEPS_AT_ONCE :]
        parts = iter(torch.split(terms, [STEPS_AT_ONCE * sizes[0]] * blocks + [sum(rest)] * bool(rest)))
        hidden = []
        for block in islice(parts, blocks):
            outputs, state = compiled(self, block, state)
            hidden.append(outputs)
        for left in parts:
            with repeated(self, rest):
                outputs, state = super().run_terms(left, rest, state)
            hidden.append(outputs)
        return torch.cat(hidden), state

    def compile_steps(self) -> None:
        """Let torch.compile make one function of 25 steps, for training on sequences of one length.

        The compiled function saves the time that Python and autograd take between the small operations of a step.
        Sequences that end at different times gain nothing: each number of sequences would be compiled anew. The rest of
        a chunk after whole blocks is computed step by step.
        """
        self.compiled_steps = torch.compile(_steps, dynamic=False)


def _steps(cell: Cell, terms: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    """The hidden states and the last state of steps in which no sequence ends: terms ``(M, G·H)``, state ``(N, C)``."""
    hidden = []
    for step in torch.split(terms, len(state)):
        state = cell(step, state)
        hidden.append(state[:, : cell.hidden_size])
    return torch.cat(hidden), state


class FastRecurrentDecoder(RecurrentDecoder):
    """A decoder whose loop over words computes the gradient of each weight matrix in one product."""

    def packed_loop(self, state: State, packing: Packing) -> PackedWords:
        """See ``RecurrentDecoder.packed_loop``."""
        return _FastPackedWords(self, state, packing)


class _FastPackedWords(PackedWords):
    def __init__(self, decoder: RecurrentDecoder, state: State, packing: Packing) -> None:
        super().__init__(state, packing)
        self.decoder = decoder

    def steps(self, equations: Equations, names: str | tuple[str, ...], *inputs: Tensor) -> tuple[Tensor, ...]:
        with repeated(self.decoder, self.packing.sizes):
            return super().steps(equations, names, *inputs)
