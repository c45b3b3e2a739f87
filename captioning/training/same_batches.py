"""The same batches in every epoch, as a test whether a model can overfit them."""

from typing import Any

import pytorch_lightning as pl

from captioning.data.module import ResumableData


class SameBatches(pl.Callback):
    """A callback that gives every epoch the order and captions of the first epoch.

    With ``trainer.limit_train_batches``, every epoch has the same few batches. Lightning's own ``overfit_batches``
    replaces the data's batch sampler by a sampler of single items.
    """

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Report every epoch as epoch 0 to the data, before the loaders are made."""
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        if isinstance(data, ResumableData):
            position = data.position
            data.position = lambda: (0, position()[1])  # type: ignore[method-assign]
