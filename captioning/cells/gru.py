"""The gated recurrent unit (Cho et al., EMNLP 2014, arXiv 1406.1078, equations 5-8, in torch.nn.GRU's form)."""

from torch import Tensor

from captioning.cells.cell import Cell


class GRU(Cell):
    """The gates of ``torch.nn.GRU``, in its order r, z, n, with the image's term in each of them.

    ::

        r, z = σ(Wxh x + Whh h + Wih v)
        n    = tanh(Wxh x + Wih v + r · (Whh h))
        h'   = (1 - z) · n + z · h

    The paper applies r to h before the product; torch, cuDNN and this cell apply r after it.
    """

    gates = 3

    def forward(self, terms: Tensor, state: Tensor) -> Tensor:
        """One step: terms ``(N, 3H)``, state ``(N, H)``."""
        _, z, n = self._activate(terms, state)
        next_state: Tensor = n + z * (state - n)
        return next_state

    def gates_of(self, terms: Tensor, state: Tensor) -> dict[str, Tensor]:
        """The reset gate r and the update gate z."""
        r, z, _ = self._activate(terms, state)
        return {"r": r, "z": z}

    def _activate(self, terms: Tensor, state: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """r, z and n, ``(N, H)`` each."""
        terms_r, terms_z, terms_n = terms.chunk(3, dim=-1)
        hidden_r, hidden_z, hidden_n = self.Whh(state).chunk(3, dim=-1)
        r, z = (terms_r + hidden_r).sigmoid(), (terms_z + hidden_z).sigmoid()
        return r, z, (terms_n + r * hidden_n).tanh()
