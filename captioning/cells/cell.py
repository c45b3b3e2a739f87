"""A recurrent cell: one layer, one step.

Dimensions: N sequences, M words in all, E input features, P image features, H hidden, G gates.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn


class Cell(nn.Module, ABC):
    """One recurrent layer: ``h = f(Wxh x + Whh h + Wih v)``, with the names of the lecture.

    The *terms* of a step are ``Wxh x + Wih v``, which do not depend on the step before. One product, outside of the
    loop over words, computes the terms of a whole batch of captions.

    A cell's state is one tensor ``(N, C)`` whose first H columns are the hidden state h; an LSTM's memory follows it.

    Attributes:
        gates: G, the number of blocks of H columns in the terms.
        memories: C / H, the number of vectors of H numbers in the state.
    """

    gates: ClassVar[int]
    memories: ClassVar[int] = 1

    def __init__(self, input_size: int, hidden_size: int, image_size: int = 0) -> None:
        """Make the weights.

        Args:
            input_size: E, the number of input features.
            hidden_size: H, the number of hidden units.
            image_size: P, the number of inputs of ``Wih``; 0 for a cell without an image.
        """
        super().__init__()
        self.hidden_size = hidden_size
        self.Wxh = nn.Linear(input_size, self.gates * hidden_size)
        self.Whh = nn.Linear(hidden_size, self.gates * hidden_size)
        self.Wih = nn.Linear(image_size, self.gates * hidden_size, bias=False) if image_size else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the weights uniformly from ±1/√H, as torch.nn.LSTM does."""
        bound = self.hidden_size**-0.5
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -bound, bound)

    @abstractmethod
    def forward(self, terms: Tensor, state: Tensor) -> Tensor:
        """One step.

        Args:
            terms: ``(N, G·H)``, the terms ``Wxh x + Wih v``.
            state: ``(N, C)``, the state before the step.

        Returns:
            The next state ``(N, C)``.
        """

    def gates_of(self, terms: Tensor, state: Tensor) -> dict[str, Tensor]:
        """The gates of one step, by their names in the equations; empty for a cell without gates.

        Args:
            terms: ``(N, G·H)``, the terms ``Wxh x + Wih v``.
            state: ``(N, C)``, the state before the step.

        Returns:
            ``(N, H)`` each, from 0 (closed, "left-saturated") to 1 (open, "right-saturated").
        """
        return {}

    def memory(self, state: Tensor) -> Tensor:
        """The memory m ``(…, H)`` of a state ``(…, C)``: an LSTM's c, before the output gate.

        A cell without an output gate (RNN, GRU, MUT1 to MUT3) has its memory in the hidden state itself: m = h.
        """
        return state[..., -self.hidden_size :]

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

    def run(self, x: Tensor, sizes: Sequence[int], state: Tensor, image: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Run all steps of packed sequences, the longest first (see ``core.packing.Packing``).

        Args:
            x: ``(M, E)``, the inputs, time-major.
            sizes: the number of sequences that still have a word, at each time.
            state: ``(N, C)`` before the first word.
            image: ``(M', G·H)``, the image's term for the first M' words.

        Returns:
            The hidden states ``(M, H)``, and the states ``(N, C)`` after each sequence's last word.
        """
        terms = self.input(x)
        if image is not None:
            terms = terms + image if len(image) == len(terms) else _add_first(terms, image)
        return self.run_terms(terms, sizes, state)

    def run_terms(self, terms: Tensor, sizes: Sequence[int], state: Tensor) -> tuple[Tensor, Tensor]:
        """Run all steps from their terms, see ``run``.

        Args:
            terms: ``(M, G·H)``, the terms ``Wxh x + Wih v``, time-major.
            sizes: the number of sequences that still have a word, at each time.
            state: ``(N, C)`` before the first word.

        Returns:
            The hidden states ``(M, H)``, and the states ``(N, C)`` after each sequence's last word.
        """
        hidden, ended = [], []
        for step in torch.split(terms, list(sizes)):
            if len(step) < len(state):
                ended.append(state[len(step) :])
                state = state[: len(step)]
            state = self(step, state)
            hidden.append(state[:, : self.hidden_size])
        return torch.cat(hidden), torch.cat([state, *reversed(ended)])


def _add_first(terms: Tensor, image: Tensor) -> Tensor:
    """The terms ``(M, G·H)``, with the image's term ``(M', G·H)`` added to the first M' rows."""
    return torch.cat([terms[: len(image)] + image, terms[len(image) :]])
