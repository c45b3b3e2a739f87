"""The normalisations of an embedded image or frame, by the names that settings give them."""

from collections.abc import Callable

from torch import Tensor, nn
from torch.nn import functional as F

from captioning.core.errors import CaptioningError


class _BatchNorm(nn.BatchNorm1d):
    """Batch normalisation that normalises a batch of a single vector by the running statistics."""

    def forward(self, x: Tensor) -> Tensor:
        """``(B, E)`` to ``(B, E)``."""
        if len(x) > 1:
            return super().forward(x)
        return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)


NORMS: dict[str | None, Callable[[int], nn.Module]] = {
    None: lambda _: nn.Identity(),
    "batch": _BatchNorm,
    "layer": nn.LayerNorm,
}


def make_norm(setting: str, name: str | None, size: int) -> nn.Module:
    """The layer that normalises vectors ``(…, E)``.

    Args:
        setting: the setting's name, for the error.
        name: ``batch`` (Ioffe & Szegedy 2015, arXiv 1502.03167), each number over the vectors of a batch; ``layer`` (Ba
            et al. 2016, arXiv 1607.06450), the numbers of each vector; None for none.
        size: E.

    Raises:
        CaptioningError: there is no normalisation of this name.
    """
    if name not in NORMS:
        raise CaptioningError(f"decoder.{setting}={name}: take batch, layer or null.")
    return NORMS[name](size)
