"""What a recurrent cell is.

Dimensions: N sequences, M words in all, E input features, P image features, H hidden, G gates.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from itertools import islice
from typing import ClassVar

import torch
from torch import Tensor, nn

from captioning.speed.repeated import Repeated, repeated

STEPS_AT_ONCE = 25  # that are compiled together


class Cell(nn.Module, ABC):
    """One recurrent layer: ``h = f(Wxh x + Whh h + Wih v)``, with the names of the lecture.

    What does not depend on the previous word, ``Wxh x + Wih v``, is called the *terms* of a step. It is computed
    outside of the loop over words, in one product for a whole batch of captions, and handed to the cell.

    A cell's state is one tensor ``(N, C)`` whose first H columns are the hidden state h; an LSTM's memory follows it.

    Attributes:
        gates: G, how many blocks of H columns the terms have.
        memories: C / H, how many vectors of H numbers the state has.
    """

    gates: ClassVar[int]
    memories: ClassVar[int] = 1

    def __init__(self, input_size: int, hidden_size: int, image_size: int = 0) -> None:
        """Make the weights.

        Args:
            input_size: E.
            hidden_size: H.
            image_size: P, the size of what enters through ``Wih``; 0 for no image.
        """
        super().__init__()
        self.hidden_size = hidden_size
        self.Wxh = Repeated(input_size, self.gates * hidden_size)
        self.Whh = Repeated(hidden_size, self.gates * hidden_size)
        self.Wih = Repeated(image_size, self.gates * hidden_size, bias=False) if image_size else None
        self.compiled_steps: Callable[[Cell, Tensor, Tensor], tuple[Tensor, Tensor]] | None = None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Uniform in ±1/√H, as torch.nn.LSTM has it."""
        bound = self.hidden_size**-0.5
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -bound, bound)

    @abstractmethod
    def forward(self, terms: Tensor, state: Tensor) -> Tensor:
        """One step.

        Args:
            terms: ``(N, G·H)``, ``Wxh x + Wih v``.
            state: ``(N, C)``.

        Returns:
            The next state ``(N, C)``.
        """

    def gates_of(self, terms: Tensor, state: Tensor) -> dict[str, Tensor]:
        """The gates of one step, by the names of the equations; none where the cell has no gate.

        Args:
            terms: ``(N, G·H)``, ``Wxh x + Wih v``.
            state: ``(N, C)``.

        Returns:
            ``(N, H)`` each, from 0 (closed, "left-saturated") to 1 (open, "right-saturated").
        """
        return {}

    def input(self, x: Tensor) -> Tensor:
        """The input's term ``Wxh x``: ``(…, E)`` to ``(…, G·H)``."""
        terms: Tensor = self.Wxh(x)
        return terms

    def image(self, features: Tensor) -> Tensor:
        """The image's term ``Wih v``: ``(…, P)`` to ``(…, G·H)``.

        Raises:
            TypeError: the cell was made with ``image_size=0``.
        """
        if self.Wih is None:
            raise TypeError("This cell was made without an image (image_size=0), so it has no Wih.")
        image: Tensor = self.Wih(features)
        return image

    def initial(self, *shape: int, like: Tensor) -> Tensor:
        """The state before the first word, zero: ``(*shape, C)`` on the device and in the precision of ``like``."""
        return like.new_zeros(*shape, self.memories * self.hidden_size)

    def read(
        self, x: Tensor, sizes: Sequence[int], state: Tensor, image: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """All steps of packed sequences from what goes in: ``run`` on its terms, or something faster.

        Args:
            x: ``(M, E)``, time-major.
            sizes: how many sequences still have a word at each time.
            state: ``(N, C)`` before the first word.
            image: ``(M', G·H)``, the image's term for the first M' words.

        Returns:
            The hidden states ``(M, H)``, and the states ``(N, C)`` after each sequence's last word.
        """
        terms = self.input(x)
        if image is not None:
            terms = terms + image if len(image) == len(terms) else _add_first(terms, image)
        return self.run(terms, sizes, state)

    def run(self, terms: Tensor, sizes: Sequence[int], state: Tensor) -> tuple[Tensor, Tensor]:
        """All steps of packed sequences, the longest first (see ``core.packing.Packing``).

        Args:
            terms: ``(M, G·H)``, time-major.
            sizes: how many sequences still have a word at each time.
            state: ``(N, C)`` before the first word.

        Returns:
            The hidden states ``(M, H)``, and the states ``(N, C)`` after each sequence's last word.
        """
        compiled = self.compiled_steps if torch.is_grad_enabled() and sizes[0] == sizes[-1] else None
        blocks = len(sizes) // STEPS_AT_ONCE if compiled else 0
        rest = sizes[blocks * STEPS_AT_ONCE :]
        parts = iter(torch.split(terms, [STEPS_AT_ONCE * sizes[0]] * blocks + list(rest)))
        hidden, ended = [], []
        if compiled:
            for block in islice(parts, blocks):
                outputs, state = compiled(self, block, state)
                hidden.append(outputs)
        with repeated([self.Whh], rest):
            for step in parts:
                if len(step) < len(state):
                    ended.append(state[len(step) :])
                    state = state[: len(step)]
                state = self(step, state)
                hidden.append(state[:, : self.hidden_size])
        return torch.cat(hidden), torch.cat([state, *reversed(ended)])

    def compile_steps(self) -> None:
        """Let torch.compile make one function of 25 steps, for training on sequences of one length.

        What it saves is the time that Python and autograd take between the small operations of a step. It cannot where
        sequences end at different times: each number of them would be compiled anew. What is left of a chunk after
        whole blocks is read step by step.
        """
        self.compiled_steps = torch.compile(_steps, dynamic=False)


def _steps(cell: Cell, terms: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    """The steps of N sequences none of which ends, plainly: terms ``(M, G·H)``, state ``(N, C)``."""
    hidden = []
    for step in torch.split(terms, len(state)):
        state = cell(step, state)
        hidden.append(state[:, : cell.hidden_size])
    return torch.cat(hidden), state


def _add_first(terms: Tensor, image: Tensor) -> Tensor:
    """Add to the first rows alone."""
    return torch.cat([terms[: len(image)] + image, terms[len(image) :]])
