"""Where to compute."""

import torch


def find_device(name: str = "auto") -> torch.device:
    """The device of a name; ``"auto"``: the GPU where there is one."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)
