"""From a checkpoint to the parts of a trained network, with their weights, on a device."""

import os
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from torch import nn

from captioning.core.device import find_device
from captioning.core.vocabulary import CharacterVocabulary, Vocabulary
from captioning.runs.checkpoint import Checkpoint, make_with_weights, read_checkpoint

Words = TypeVar("Words", Vocabulary, CharacterVocabulary)


@dataclass(frozen=True)
class Trained(Generic[Words]):
    """A trained network.

    Attributes:
        path: the checkpoint's file.
        config: what of the run's configuration may be acted on, see ``captioning.runs.trust``.
        vocabulary: of the decoder.
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
    """Read a checkpoint, and make what it holds.

    Args:
        path: a ``.ckpt`` file, or a run's folder (its best checkpoint).
        device: where to run; ``"auto"``: the GPU where there is one.
        trust: modules or classes outside of this package that the checkpoint may name.
        vocabulary_of: takes the vocabulary out of the checkpoint, or refuses one of another kind.
        make: makes the modules, without weights, from the configuration and the vocabulary.

    Raises:
        CaptioningError: there is no such checkpoint, it is of another kind, it names a class that is not trusted, or it
            does not fit this version of the code.
    """
    checkpoint = read_checkpoint(Path(path), trust)
    vocabulary = vocabulary_of(checkpoint)

    def network() -> nn.Module:
        return nn.ModuleDict(dict(make(checkpoint.config, vocabulary)))

    parts = make_with_weights(network, checkpoint).to(find_device(device))
    return Trained(checkpoint.path, checkpoint.config, vocabulary, parts)
