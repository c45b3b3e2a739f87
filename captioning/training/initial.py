"""Initial weights from another run (``init_from=``)."""

from collections.abc import Collection
from pathlib import Path

import torch

from captioning.core.errors import CaptioningError
from captioning.runs.checkpoint import Checkpoint, load_weights, read_checkpoint


def read_initial(path: str | None, trust: Collection[str] = ()) -> Checkpoint | None:
    """The checkpoint that a setting names.

    Args:
        path: a checkpoint file, or a run's folder for its best checkpoint; None for no checkpoint.
        trust: the classes named in the run's own configuration.

    Raises:
        CaptioningError: the checkpoint is missing or can't be read.
    """
    return None if path is None else read_checkpoint(Path(path), trust)


def begin_with(module: torch.nn.Module, initial: Checkpoint) -> None:
    """Load the weights of another run into a module.

    A buffer that the other run lacks keeps its beginning, as hard attention's mean reward does after soft attention;
    those of the encoder are statistics, and have to be there.

    Raises:
        CaptioningError: names or shapes of the weights differ.
    """
    own = module.state_dict()
    begun = {name: own[name] for name, _ in module.named_buffers() if name in own and not name.startswith("encoder.")}
    try:
        load_weights(module, begun | dict(initial.weights), initial.path)
    except CaptioningError as error:
        raise CaptioningError(
            f"init_from: {error} Begin with a run of the same encoder, decoder, cell and sizes."
        ) from error
