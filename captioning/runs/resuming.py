"""The check that a run can go on from a checkpoint."""

import math
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import torch

from captioning.core.errors import CaptioningError
from captioning.core.terminal import printable
from captioning.runs.checkpoint import VOCABULARIES, load_weights, read_checkpoint


def check_resumable(
    path: Path,
    module: torch.nn.Module,
    contents: Mapping[str, Any],
    epochs: float = math.inf,
    trust: Collection[str] = (),
) -> None:
    """Check that a run can resume from a checkpoint.

    Args:
        path: the checkpoint.
        module: the trained module.
        contents: the task's present contents: the vocabulary of the training captions, or of the text.
        epochs: the run's number of epochs.
        trust: the classes named in the run's own configuration.

    Raises:
        CaptioningError: the checkpoint can't be read, can't resume training, or has more epochs than ``epochs``; or the
            contents or the module differ from those of the checkpoint.
    """
    checkpoint = read_checkpoint(path, trust)
    if checkpoint.trained is None:
        raise CaptioningError(
            f"{path}: this checkpoint has weights and no state of the optimizer, so that training can't go on from it "
            "(a copy of best.ckpt?). Bring the right one back, or begin anew with resume=false."
        )
    if checkpoint.trained > epochs:
        raise CaptioningError(
            f"{path}: it is in its epoch {checkpoint.trained} already, and trainer.max_epochs={epochs:.0f} are asked "
            "for. Ask for as many at least."
        )
    for kind in sorted(checkpoint.contents.keys() | contents.keys()):
        then, now = checkpoint.contents.get(kind), contents.get(kind)
        if then == now:
            continue
        said = f"the {kind} has changed since"
        if kind in VOCABULARIES and isinstance(then, list) and isinstance(now, list):
            odd = [printable(word) for word in sorted(set(now) ^ set(then))[:5]]
            said = (
                f"the {VOCABULARIES[kind].of} have changed since ({len(then)} then, {len(now)} now"
                f"{'; for example ' * bool(odd)}{', '.join(odd)})"
            )
        raise CaptioningError(f"{path}: {said}. Bring them back, or begin anew with resume=false or another name.")
    load_weights(module, checkpoint.weights, path)
