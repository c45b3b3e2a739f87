"""Where to compute."""

import torch

from captioning.core.errors import CaptioningError


def find_device(name: str = "auto") -> torch.device:
    """The device of a name; ``"auto"``: the GPU where there is one.

    Raises:
        CaptioningError: there is no such device here.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError) as error:  # an AssertionError where torch was built without CUDA
        raise CaptioningError(
            f"device {name}: there is none here ({str(error).splitlines()[0].rstrip('.')}). Take cpu, or leave it out."
        ) from error
