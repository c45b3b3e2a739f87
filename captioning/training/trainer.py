"""Lightning's trainer, with a run's callbacks and logs."""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import hydra.utils
import pytorch_lightning as pl
import torch
from lightning_fabric.plugins.io.torch_io import TorchCheckpointIO

from captioning.core.files import atomic_write
from captioning.runs.monitor import Monitor
from captioning.training.callbacks import callbacks


def make_trainer(config: Mapping[str, Any], folder: Path) -> pl.Trainer:
    """The trainer of a run.

    Args:
        config: of the run.
        folder: of the run.
    """
    trainer: pl.Trainer = hydra.utils.instantiate(
        config["trainer"],
        default_root_dir=folder,
        callbacks=callbacks(
            folder,
            Monitor(config["monitor"]),
            config["patience"],
            config["checkpoint_minutes"],
            config["trainer"]["enable_progress_bar"],
            config["ema_decay"],
            config["logger"]["gradients"],
        ),
        logger=[
            hydra.utils.instantiate(logger, save_dir=folder)
            for name, logger in config["logger"].items()
            if name != "gradients"
        ],
        plugins=[AtomicCheckpointIO()],
    )
    return trainer


class AtomicCheckpointIO(TorchCheckpointIO):
    """Lightning's way of writing checkpoints, whole or not at all, also on a full disk."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        """Write to a neighbour first, then rename."""
        buffer = io.BytesIO()
        torch.save(checkpoint, buffer)
        with atomic_write(path, "wb") as file:
            file.write(buffer.getbuffer())
