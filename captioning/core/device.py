"""The device of the computation."""

import torch

from captioning.core.errors import CaptioningError


def find_device(name: str = "auto") -> torch.device:
    """The device of a name; ``"auto"`` is the GPU if there is one, else the CPU.

    Raises:
        CaptioningError: this machine has no such device.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError) as error:  # an AssertionError if torch was built without CUDA
        raise CaptioningError(
            f"device {name}: there is none here ({str(error).splitlines()[0].rstrip('.'):.120}). Take cpu, or leave it "
            "out."
        ) from error
