"""Variants of the LSTM (Greff et al., "LSTM: A Search Space Odyssey", arXiv 1503.04069, section 3 and appendix A).

The paper takes each of its variants from an LSTM with peepholes; ours are taken from the LSTM without them (its NP), so
that each differs from ``captioning.cells.LSTM`` in one thing. The initial forget bias of Jozefowicz et al. 2015 is that
class's ``forget_bias``.
"""

import torch
from torch import Tensor, nn

from captioning.cells.base import Cell


class PeepholeLSTM(Cell):
    """Gates that see the memory (Gers & Schmidhuber 2000; section 2 of the paper).

    ::

        i, f = σ(Wxh x + Whh h + Wih v + p · c)     g = tanh(Wxh x + Whh h + Wih v)
        c' = f · c + i · g                          o = σ(Wxh x + Whh h + Wih v + p · c')     h' = o · tanh(c')
    """

    gates = 4
    memories = 2

    def __init__(self, input_size: int, hidden_size: int, image_size: int = 0) -> None:
        """Make the weights; the peepholes p are ``(3, H)``, of i, f and o."""
        super().__init__(input_size, hidden_size, image_size)
        self.peepholes = nn.Parameter(torch.empty(3, hidden_size))
        self.reset_parameters()

    def forward(self, terms: Tensor, state: Tensor) -> Tensor:
        """One step: terms ``(N, 4H)`` in the order i, f, g, o, state ``(N, 2H)``, h before c."""
        h, c = state.chunk(2, dim=-1)
        i, f, g, o = (terms + self.Whh(h)).chunk(4, dim=-1)
        peep_i, peep_f, peep_o = self.peepholes.unbind()
        c_next = (f + peep_f * c).sigmoid() * c + (i + peep_i * c).sigmoid() * g.tanh()
        return torch.cat([(o + peep_o * c_next).sigmoid() * c_next.tanh(), c_next], dim=-1)


class CoupledLSTM(Cell):
    """Forgets as much as it takes in (the paper's CIFG): ``c' = (1 - i) · c + i · g``."""

    gates = 3
    memories = 2

    def forward(self, terms: Tensor, state: Tensor) -> Tensor:
        """One step: terms ``(N, 3H)`` in the order i, g, o, state ``(N, 2H)``, h before c."""
        h, c = state.chunk(2, dim=-1)
        i, g, o = (terms + self.Whh(h)).chunk(3, dim=-1)
        c = c + i.sigmoid() * (g.tanh() - c)
        return torch.cat([o.sigmoid() * c.tanh(), c], dim=-1)


class NoForgetGateLSTM(Cell):
    """Never forgets (the paper's NFG, the LSTM of 1997): ``c' = c + i · g``."""

    gates = 3
    memories = 2

    def forward(self, terms: Tensor, state: Tensor) -> Tensor:
        """One step: terms ``(N, 3H)`` in the order i, g, o, state ``(N, 2H)``, h before c."""
        h, c = state.chunk(2, dim=-1)
        i, g, o = (terms + self.Whh(h)).chunk(3, dim=-1)
        c = c + i.sigmoid() * g.tanh()
        return torch.cat([o.sigmoid() * c.tanh(), c], dim=-1)
