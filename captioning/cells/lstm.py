"""Long short-term memory (Hochreiter & Schmidhuber, Neural Computation 1997; forget gate: Gers et al. 2000)."""

import torch
from torch import Tensor

from captioning.cells.cell import Cell


class LSTM(Cell):
    """The gates of ``torch.nn.LSTM``, in its order i, f, g, o, with the image's term in each of them.

    ::

        i, f, o = σ(Wxh x + Whh h + Wih v)      g = tanh(Wxh x + Whh h + Wih v)
        c' = f · c + i · g                      h' = o · tanh(c')
    """

    gates = 4
    memories = 2

    def __init__(self, input_size: int, hidden_size: int, image_size: int = 0, forget_bias: float = 0.0) -> None:
        """Make the weights; ``forget_bias`` is the forget gate's initial bias (1 in Jozefowicz et al. 2015)."""
        self.forget_bias = forget_bias
        super().__init__(input_size, hidden_size, image_size)

    def reset_parameters(self) -> None:
        """Draw the weights uniformly from ±1/√H; a ``forget_bias`` replaces the forget gate's bias."""
        super().reset_parameters()
        if self.forget_bias:
            H = self.hidden_size
            with torch.no_grad():
                self.Wxh.bias[H : 2 * H] = self.forget_bias
                self.Whh.bias[H : 2 * H] = 0.0

    def forward(self, terms: Tensor, state: Tensor) -> Tensor:
        """One step: terms ``(N, 4H)``, state ``(N, 2H)``, h before c."""
        i, f, g, o = self._activate(terms, state)
        c = f * state[..., self.hidden_size :] + i * g
        return torch.cat([o * c.tanh(), c], dim=-1)

    def gates_of(self, terms: Tensor, state: Tensor) -> dict[str, Tensor]:
        """The input gate i, the forget gate f and the output gate o."""
        i, f, _, o = self._activate(terms, state)
        return {"i": i, "f": f, "o": o}

    def _activate(self, terms: Tensor, state: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """i, f, g and o, ``(N, H)`` each."""
        i, f, g, o = (terms + self.Whh(state[..., : self.hidden_size])).chunk(4, dim=-1)
        return i.sigmoid(), f.sigmoid(), g.tanh(), o.sigmoid()
