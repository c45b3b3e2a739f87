"""``init_from=``: a run that begins with another run's weights."""

from collections.abc import Collection
from pathlib import Path

import torch

from captioning.core.errors import CaptioningError
from captioning.runs.checkpoint import Checkpoint, load_weights, read_checkpoint


def read_initial(path: str | None, trust: Collection[str] = ()) -> Checkpoint | None:
    """The checkpoint that a setting names.

    Args:
        path: a file, or a run's folder (its best checkpoint); None for none.
        trust: the classes that the run's own configuration names.

    Raises:
        CaptioningError: there is none, or it can't be read.
    """
    return None if path is None else read_checkpoint(Path(path), trust)


def begin_with(module: torch.nn.Module, initial: Checkpoint) -> None:
    """Give a module the weights of another run.

    Raises:
        CaptioningError: names or shapes of the weights differ.
    """
    try:
        load_weights(module, initial.weights, initial.path)
    except CaptioningError as error:
        raise CaptioningError(
            f"init_from: {error} Begin with a run of the same encoder, decoder, cell and sizes."
        ) from error
