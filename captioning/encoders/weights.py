"""Pretrained weights, from torchvision by name or from a file, loaded strictly."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from pickle import UnpicklingError
from urllib.error import URLError

import torch
import torchvision
from torch import Tensor, nn

from captioning.core.archives import verify_archive
from captioning.core.errors import CaptioningError

StateDict = Mapping[str, Tensor]


def torchvision_state(name: str, weights: str) -> StateDict:
    """The state dict that ``weights`` names.

    Args:
        name: torchvision's name of the network ("resnet50").
        weights: torchvision's name of the weights ("IMAGENET1K_V1"; downloaded on first use into torch's hub folder),
            or the path of a file.

    Raises:
        CaptioningError: ``weights`` is neither a known name nor a readable file, or the download failed.
    """
    known = torchvision.models.get_model_weights(name).__members__
    if weights not in known:
        return read_state(weights, f"nor one of torchvision's weights of {name} ({', '.join(known)})")
    entry = known[weights]
    file = Path(torch.hub.get_dir()) / "checkpoints" / Path(entry.url).name
    try:
        state: StateDict = entry.get_state_dict(progress=True, check_hash=True)
    except (URLError, OSError) as error:
        raise CaptioningError(
            f"{entry.url}: the weights {weights} of {name} can't be downloaded ({error}). Check the network, or put "
            f"the file at {file}, or give a file of your own: encoder.weights=path."
        ) from error
    except (RuntimeError, UnpicklingError, EOFError) as error:
        raise CaptioningError(
            f"{file}: the weights {weights} of {name} are damaged ({error}). Delete the file; it is then fetched again."
        ) from error
    return state


def read_state(path: str, otherwise: str = "") -> StateDict:
    """A state dict from a file.

    Args:
        path: a file that ``torch.save`` wrote.
        otherwise: the other meaning of the setting, for the error's message.

    Raises:
        CaptioningError: the file does not exist, or holds no state dict.
    """
    if not os.path.lexists(path):
        raise CaptioningError(
            f"encoder.weights={path}: there is no such file{', ' * bool(otherwise)}{otherwise}. Correct the path, or "
            "set encoder.weights=null for random weights."
        )
    verify_archive(path, "file of weights", earlier=True)
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever a damaged file makes torch raise
        raise CaptioningError(
            f"{path}: not a file of weights that torch can read ({error}). Fetch it again."
        ) from error
    if not isinstance(state, Mapping) or not all(isinstance(value, Tensor) for value in state.values()):
        raise CaptioningError(
            f"{path}: this file holds no state dict (tensors by name). Save it with "
            "torch.save(model.state_dict(), path)."
        )
    odd = [name for name, value in state.items() if value.is_floating_point() and not bool(value.isfinite().all())]
    if odd:
        raise CaptioningError(
            f"{path}: {odd[0]} has values that are no numbers (NaN or infinity). Fetch or train the weights again."
        )
    return state


def build(
    make: Callable[[], nn.Module], state: StateDict | None, source: str | None, cut: tuple[str, ...]
) -> nn.Module:
    """Make a network with given weights, without initialising the parameters that they replace.

    Args:
        make: a function that makes the network, without the parts that are cut off.
        state: the weights, or None for random ones.
        source: the origin of the weights, for the error's message.
        cut: see ``load``.

    Raises:
        CaptioningError: weights are missing, unknown, or of another shape.
    """
    if state is None:
        return make()
    with torch.device("meta"):
        network = make()
    return load(network, state, source, cut)


def load(network: nn.Module, state: StateDict, source: str | None, cut: tuple[str, ...]) -> nn.Module:
    """Load weights into a network, strictly.

    Args:
        network: the network without the parts that are cut off; changed in place.
        state: the weights.
        source: the origin of the weights, for the error's message.
        cut: prefixes of the names of the parts that are cut off; weights of these names are ignored.

    Raises:
        CaptioningError: weights are missing, unknown, or of another shape.
    """
    state = {name: tensor for name, tensor in state.items() if not name.startswith(cut)}
    own = network.state_dict()
    wanted = {name for name in own if not name.endswith("num_batches_tracked")}  # absent from files before torch 0.4.1
    problems = {
        "missing": sorted(wanted - state.keys()),
        "unknown": sorted(state.keys() - own.keys()),
        "of another shape": sorted(name for name in wanted & state.keys() if state[name].shape != own[name].shape),
    }
    if any(problems.values()):
        found = "; ".join(
            f"{len(names)} {what} ({', '.join(names[:3])}{', …' if len(names) > 3 else ''})"
            for what, names in problems.items()
            if names
        )
        raise CaptioningError(
            f"{source}: these weights are not this network's: {found}. Choose the encoder that the file belongs to; "
            "where the file ends at an earlier stage, set encoder.last_stage."
        )
    network.load_state_dict(dict(state), assign=True)
    return network
