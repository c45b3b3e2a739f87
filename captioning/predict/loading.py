"""From a checkpoint to the parts of a trained network, with their weights, on a device."""

import os
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from torch import nn

from captioning.core.device import find_device
from captioning.runs.checkpoint import Checkpoint, make_with_weights, read_checkpoint

Words = TypeVar("Words")


@dataclass(frozen=True)
class Trained(Generic[Words]):
    """A trained network.

    Attributes:
        path: the checkpoint's file.
        config: the trusted part of the run's configuration, see ``captioning.runs.trust``.
        vocabulary: the decoder's vocabulary, or what else ``load`` was told to take from the checkpoint's contents.
        parts: the modules by name (``"encoder"``, ``"decoder"``), with the checkpoint's weights.
    """

    path: Path
    config: Mapping[str, Any]
    vocabulary: Words
    parts: Any


def load(
    path: str | os.PathLike[str],
    device: str,
    trust: Collection[str],
    vocabulary_of: Callable[[Checkpoint], Words],
    make: Callable[[Mapping[str, Any], Words], Mapping[str, nn.Module]],
) -> Trained[Words]:
    """Read a checkpoint, and make its network.

    Args:
        path: a ``.ckpt`` file, or a run's folder (its best checkpoint).
        device: the device; ``"auto"`` is the GPU if there is one, else the CPU.
        trust: modules or classes outside of this package that the checkpoint may name.
        vocabulary_of: a function from the checkpoint to its vocabulary, which refuses a checkpoint of another kind.
        make: a function from the configuration and the vocabulary to the modules, without weights.

    Raises:
        CaptioningError: the checkpoint does not exist, is of another kind, names a class that is not trusted, or does
            not fit this version of the code.
    """
    checkpoint = read_checkpoint(Path(path), trust)
    vocabulary = vocabulary_of(checkpoint)

    def network() -> nn.Module:
        return nn.ModuleDict(dict(make(checkpoint.config, vocabulary)))

    parts = make_with_weights(network, checkpoint).to(find_device(device))
    return Trained(checkpoint.path, checkpoint.config, vocabulary, parts)
