"""The vanilla recurrent network (Elman, "Finding Structure in Time", Cognitive Science 1990)."""

from torch import Tensor

from captioning.cells.cell import Cell


class RNN(Cell):
    """The vanilla cell ``h = tanh(Wxh x + Whh h + Wih v)``."""

    gates = 1

    def forward(self, terms: Tensor, state: Tensor) -> Tensor:
        """One step: terms ``(N, H)``, state ``(N, H)``."""
        next_state: Tensor = (terms + self.Whh(state)).tanh()
        return next_state
