"""Long short-term memory (Hochreiter & Schmidhuber, Neural Computation 1997; forget gate: Gers et al. 2000)."""

import torch
from torch import Tensor

from captioning.cells.base import Cell


class LSTM(Cell):
    """The gates of ``torch.nn.LSTM``, in its order i, f, g, o, with the image's term in each of them.

    ::

        i, f, o = σ(Wxh x + Whh h + Wih v)      g = tanh(Wxh x + Whh h + Wih v)
        c' = f · c + i · g                      h' = o · tanh(c')
    """

    gates = 4
    memories = 2

    def __init__(self, input_size: int, hidden_size: int, image_size: int = 0, forget_bias: float = 0.0) -> None:
        """Make the weights; the forget gate's bias begins with ``forget_bias`` (1 in Jozefowicz et al. 2015)."""
        self.forget_bias = forget_bias
        super().__init__(input_size, hidden_size, image_size)

    def reset_parameters(self) -> None:
        """Uniform in ±1/√H; with a ``forget_bias`` the forget gate begins with that bias."""
        super().reset_parameters()
        if self.forget_bias:
            H = self.hidden_size
            with torch.no_grad():
                self.Wxh.bias[H : 2 * H] = self.forget_bias
                self.Whh.bias[H : 2 * H] = 0.0

    def forward(self, terms: Tensor, state: Tensor) -> Tensor:
        """One step: terms ``(N, 4H)``, state ``(N, 2H)``, h before c."""
        h, c = state.chunk(2, dim=-1)
        i, f, g, o = (terms + self.Whh(h)).chunk(4, dim=-1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        return torch.cat([o.sigmoid() * c.tanh(), c], dim=-1)
