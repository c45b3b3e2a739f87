"""Variants of the LSTM (Greff et al., "LSTM: A Search Space Odyssey", arXiv 1503.04069, section 3 and appendix A).

The paper derives its variants from an LSTM with peepholes; the variants here derive from the LSTM without peepholes
(the paper's NP), so that each differs from ``captioning.cells.LSTM`` in one respect. The initial forget bias of
Jozefowicz et al. 2015 is ``LSTM``'s setting ``forget_bias``.
"""

import torch
from torch import Tensor, nn

from captioning.cells.cell import Cell


class PeepholeLSTM(Cell):
    """An LSTM whose gates read the memory (Gers & Schmidhuber 2000; section 2 of the paper).

    ::

        i, f = σ(Wxh x + Whh h + Wih v + p · c)     g = tanh(Wxh x + Whh h + Wih v)
        c' = f · c + i · g                          o = σ(Wxh x + Whh h + Wih v + p · c')     h' = o · tanh(c')
    """

    gates = 4
    memories = 2

    def __init__(self, input_size: int, hidden_size: int, image_size: int = 0) -> None:
        """Make the weights; the peepholes p of i, f and o are ``(3, H)``."""
        super().__init__(input_size, hidden_size, image_size)
        self.peepholes = nn.Parameter(torch.empty(3, hidden_size))
        self.reset_parameters()

    def forward(self, terms: Tensor, state: Tensor) -> Tensor:
        """One step: terms ``(N, 4H)`` in the order i, f, g, o, state ``(N, 2H)``, h before c."""
        _, _, o, c = self._activate(terms, state)
        return torch.cat([o * c.tanh(), c], dim=-1)

    def gates_of(self, terms: Tensor, state: Tensor) -> dict[str, Tensor]:
        """The input gate i, the forget gate f and the output gate o."""
        i, f, o, _ = self._activate(terms, state)
        return {"i": i, "f": f, "o": o}

    def _activate(self, terms: Tensor, state: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """i, f, o and the next c (which o reads), ``(N, H)`` each."""
        h, c = state.chunk(2, dim=-1)
        i, f, g, o = (terms + self.Whh(h)).chunk(4, dim=-1)
        peep_i, peep_f, peep_o = self.peepholes.unbind()
        i, f = (i + peep_i * c).sigmoid(), (f + peep_f * c).sigmoid()
        c_next = f * c + i * g.tanh()
        return i, f, (o + peep_o * c_next).sigmoid(), c_next


class MaxoutLSTM(Cell):
    """An LSTM whose new content is the larger of two candidates, without tanh.

    Max-out units are Goodfellow et al.'s (2013, arXiv 1302.4389, section 2); this cell is that of the captioner of
    Rennie et al. 2017 (arXiv 1612.00563, section 2, where the image is the first word)::

        i, f, o = σ(Wxh x + Whh h + Wih v)      g = max(a, b),  (a, b) = Wxh x + Whh h + Wih v
        c' = f · c + i · g                      h' = o · tanh(c')
    """

    gates = 5
    memories = 2

    def forward(self, terms: Tensor, state: Tensor) -> Tensor:
        """One step: terms ``(N, 5H)`` in the order i, f, o, a, b, state ``(N, 2H)``, h before c."""
        i, f, o, g = self._activate(terms, state)
        c = f * state[..., self.hidden_size :] + i * g
        return torch.cat([o * c.tanh(), c], dim=-1)

    def gates_of(self, terms: Tensor, state: Tensor) -> dict[str, Tensor]:
        """The input gate i, the forget gate f and the output gate o."""
        i, f, o, _ = self._activate(terms, state)
        return {"i": i, "f": f, "o": o}

    def _activate(self, terms: Tensor, state: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """i, f, o and g, ``(N, H)`` each."""
        i, f, o, a, b = (terms + self.Whh(state[..., : self.hidden_size])).chunk(5, dim=-1)
        return i.sigmoid(), f.sigmoid(), o.sigmoid(), torch.maximum(a, b)


class _TwoGates(Cell):
    """The common base class of the two cells without a separate forget gate."""

    gates = 3
    memories = 2

    def gates_of(self, terms: Tensor, state: Tensor) -> dict[str, Tensor]:
        """The input gate i and the output gate o."""
        i, _, o = self._activate(terms, state)
        return {"i": i, "o": o}

    def _activate(self, terms: Tensor, state: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """i, g and o, ``(N, H)`` each."""
        i, g, o = (terms + self.Whh(state[..., : self.hidden_size])).chunk(3, dim=-1)
        return i.sigmoid(), g.tanh(), o.sigmoid()


class CoupledLSTM(_TwoGates):
    """An LSTM with a coupled forget gate, 1 - i (the paper's CIFG): ``c' = (1 - i) · c + i · g``."""

    def forward(self, terms: Tensor, state: Tensor) -> Tensor:
        """One step: terms ``(N, 3H)`` in the order i, g, o, state ``(N, 2H)``, h before c."""
        c = state[..., self.hidden_size :]
        i, g, o = self._activate(terms, state)
        c = c + i * (g - c)
        return torch.cat([o * c.tanh(), c], dim=-1)


class NoForgetGateLSTM(_TwoGates):
    """An LSTM without a forget gate (the paper's NFG, the LSTM of 1997): ``c' = c + i · g``."""

    def forward(self, terms: Tensor, state: Tensor) -> Tensor:
        """One step: terms ``(N, 3H)`` in the order i, g, o, state ``(N, 2H)``, h before c."""
        c = state[..., self.hidden_size :]
        i, g, o = self._activate(terms, state)
        c = c + i * g
        return torch.cat([o * c.tanh(), c], dim=-1)
