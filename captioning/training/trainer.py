"""Lightning's trainer, with a run's callbacks and logs."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import hydra.utils
import pytorch_lightning as pl

from captioning.training.callbacks import callbacks
from captioning.training.checkpoint import AtomicCheckpointIO
from captioning.training.monitor import Monitor


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
