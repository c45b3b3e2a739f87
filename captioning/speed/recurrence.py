"""The loops over words of cells and decoders: one product for the weights' gradients, oneDNN's LSTM, compiled steps.

Dimensions: N sequences, M words in all, E input features, H hidden, G gates, C a cell's state.
"""

from collections.abc import Callable, Sequence
from itertools import islice

import torch
from torch import Tensor

from captioning.cells import LSTM, Cell
from captioning.core.packing import Packing
from captioning.core.state import State
from captioning.decoders import RecurrentDecoder
from captioning.decoders.loop import Equations, PackedWords
from captioning.speed.linear import onednn, repeated

STEPS_AT_ONCE = 25  # that are compiled together


class FastCell(Cell):
    """A cell whose loop over words computes the gradient of its weights in one product.

    Attributes:
        compiled_steps: 25 steps of sequences none of which ends, compiled; None where they are not.
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

        The compiled function saves the time that Python and autograd take between the small operations of a step. It
        cannot where sequences end at different times: each number of them would be compiled anew. The rest of a chunk
        after whole blocks is computed step by step.
        """
        self.compiled_steps = torch.compile(_steps, dynamic=False)


def _steps(cell: Cell, terms: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    """The steps of N sequences none of which ends, plainly: terms ``(M, G·H)``, state ``(N, C)``."""
    hidden = []
    for step in torch.split(terms, len(state)):
        state = cell(step, state)
        hidden.append(state[:, : cell.hidden_size])
    return torch.cat(hidden), state


class FastLSTM(FastCell, LSTM):
    """An LSTM that leaves sequences of one length to oneDNN."""

    def run(self, x: Tensor, sizes: Sequence[int], state: Tensor, image: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """See ``Cell.run``; by oneDNN's own LSTM where that can.

        It can on a CPU, in single precision, for sequences of one length that see no image. In half precision the loop
        is faster; cuDNN's would round to TF32, and under autocast to float16.
        """
        if image is not None or sizes[0] != sizes[-1] or not onednn(x):
            return super().run(x, sizes, state, image)
        h, c = (part.contiguous().unsqueeze(0) for part in state.chunk(2, dim=-1))
        weights = [self.Wxh.weight, self.Whh.weight, self.Wxh.bias, self.Whh.bias]
        inputs, training = x.view(len(sizes), -1, x.shape[-1]), torch.is_grad_enabled()
        hidden, h, c = torch.lstm(inputs, (h, c), weights, True, 1, 0.0, training, False, False)
        return hidden.flatten(0, 1), torch.cat([h[0], c[0]], dim=-1)


class FastRecurrentDecoder(RecurrentDecoder):
    """A decoder whose loop over words computes the gradients of the weights in it in one product each."""

    def packed_loop(self, state: State, packing: Packing) -> PackedWords:
        """See ``RecurrentDecoder.packed_loop``."""
        return _FastPackedWords(self, state, packing)


class _FastPackedWords(PackedWords):
    def __init__(self, decoder: RecurrentDecoder, state: State, packing: Packing) -> None:
        super().__init__(state, packing)
        self.decoder = decoder

    def steps(self, equations: Equations, name: str, *inputs: Tensor) -> tuple[Tensor, ...]:
        with repeated(self.decoder, self.packing.sizes):
            return super().steps(equations, name, *inputs)
