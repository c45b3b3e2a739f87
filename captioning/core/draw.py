"""Random draws from discrete distributions, for many rows at once."""

import torch
from torch import Tensor


def precise(device: torch.device) -> torch.dtype:
    """The most precise floating-point numbers of a device: Apple's GPUs lack double precision."""
    return torch.float if device.type == "mps" else torch.double


def draw(probabilities: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """One index for each distribution, by the inverse of the cumulative distribution.

    ``torch.multinomial`` draws a random number for each probability, and this function one for each row: on a CPU it
    takes a tenth of the time or less (250 distributions of 2,500 words: 3.4 ms instead of 47). The sums are in double
    precision, so that an unlikely index does not vanish in the sum before it.

    Args:
        probabilities: ``(…, V)``, not negative; of any sum above 0.
        generator: the source of the random numbers; by default torch's global generator.

    Returns:
        ``(…)``, indices.
    """
    kind = precise(probabilities.device)
    cumulative = probabilities.cumsum(-1, dtype=kind)
    shape = (*cumulative.shape[:-1], 1)
    point = torch.rand(shape, dtype=kind, device=cumulative.device, generator=generator) * cumulative[..., -1:]
    index = torch.searchsorted(cumulative, point, right=True).squeeze(-1)
    return index.clamp_max_(probabilities.shape[-1] - 1)
