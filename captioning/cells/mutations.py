"""MUT1, MUT2 and MUT3, the best cells of a search among ten thousand.

Jozefowicz, Zaremba & Sutskever, "An Empirical Exploration of Recurrent Network Architectures", ICML 2015.
In all of them ``h' = z · n + (1 - z) · h``; x_r, x_z, x_n are the terms ``Wxh x + Wih v`` of the gates.

Deviation: MUT1 and MUT2 use the input x without a matrix; if E ≠ H, a matrix projects x to H numbers.
"""

from abc import abstractmethod

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from captioning.cells.cell import Cell


class Mutation(Cell):
    """The common base class of MUT1, MUT2 and MUT3."""

    gates = 3

    @abstractmethod
    def _activate(self, terms: Tensor, state: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """r, z and n, ``(N, H)`` each, from the terms ``(N, 3H)`` and the state ``(N, H)``."""

    def forward(self, terms: Tensor, state: Tensor) -> Tensor:
        """One step: terms ``(N, 3H)``, state ``(N, H)``."""
        _, z, n = self._activate(terms, state)
        return state + z * (n - state)

    def gates_of(self, terms: Tensor, state: Tensor) -> dict[str, Tensor]:
        """The reset gate r and the update gate z."""
        r, z, _ = self._activate(terms, state)
        return {"r": r, "z": z}

    def product(self, block: int, h: Tensor) -> Tensor:
        """``Whh h`` for one block of H rows: ``(N, H)`` to ``(N, H)``."""
        rows = slice(block * self.hidden_size, (block + 1) * self.hidden_size)
        return F.linear(h, self.Whh.weight[rows], self.Whh.bias[rows])


class PlainInput(Mutation):
    """A mutation whose first gate uses the input x without a matrix."""

    hidden_blocks: int

    def __init__(self, input_size: int, hidden_size: int, image_size: int = 0) -> None:
        """Make the weights: ``Wxh`` for the second and the third gate, ``Whh`` for the gates that read h."""
        super().__init__(input_size, hidden_size, image_size)
        self.Wxh = nn.Linear(input_size, 2 * hidden_size)
        self.Whh = nn.Linear(hidden_size, self.hidden_blocks * hidden_size)
        self.width = None if input_size == hidden_size else nn.Linear(input_size, hidden_size, bias=False)
        self.reset_parameters()

    def input(self, x: Tensor) -> Tensor:
        """``[x; Wxh x]``: ``(…, E)`` to ``(…, 3H)``."""
        return torch.cat([x if self.width is None else self.width(x), self.Wxh(x)], dim=-1)


class MUT1(PlainInput):
    """The mutation whose z does not read the hidden state, and whose candidate n uses tanh of the input.

    ::

        z = σ(x_z)      r = σ(x_r + Whr h)      n = tanh(Whn (r · h) + tanh(x))
    """

    hidden_blocks = 2

    def _activate(self, terms: Tensor, state: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """r, z and n, from terms in the order n, z, r."""
        x, x_z, x_r = terms.chunk(3, dim=-1)
        z, r = x_z.sigmoid(), (x_r + self.product(0, state)).sigmoid()
        return r, z, (self.product(1, r * state) + x.tanh()).tanh()


class MUT2(PlainInput):
    """The mutation whose r uses the input without a matrix.

    ::

        z = σ(x_z + Whz h)      r = σ(x + Whr h)      n = tanh(Whn (r · h) + x_n)
    """

    hidden_blocks = 3

    def _activate(self, terms: Tensor, state: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """r, z and n, from terms in the order r, z, n."""
        x, x_z, x_n = terms.chunk(3, dim=-1)
        r, z = (x + self.product(0, state)).sigmoid(), (x_z + self.product(1, state)).sigmoid()
        return r, z, (self.product(2, r * state) + x_n).tanh()


class MUT3(Mutation):
    """The mutation whose z reads tanh of the hidden state.

    ::

        z = σ(x_z + Whz tanh(h))      r = σ(x_r + Whr h)      n = tanh(Whn (r · h) + x_n)
    """

    def _activate(self, terms: Tensor, state: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """r, z and n, from terms in the order r, z, n."""
        x_r, x_z, x_n = terms.chunk(3, dim=-1)
        r, z = (x_r + self.product(0, state)).sigmoid(), (x_z + self.product(1, state.tanh())).sigmoid()
        return r, z, (self.product(2, r * state) + x_n).tanh()
