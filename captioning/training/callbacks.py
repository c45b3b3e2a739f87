"""What happens beside training: checkpoints to resume from, and logs that resume."""

import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from lightning_fabric.utilities.apply_func import convert_tensors_to_scalars
from pytorch_lightning.callbacks import (
    Checkpoint,
    EarlyStopping,
    ModelCheckpoint,
    Timer,
    TQDMProgressBar,
    WeightAveraging,
)
from torch import Tensor

from captioning.core.errors import CaptioningError
from captioning.runs.checkpoint import BEST, LAST
from captioning.runs.metrics_file import CSVLogger
from captioning.runs.monitor import Monitor
from captioning.training.gradient_norms import Gradients


def callbacks(
    folder: Path,
    monitor: Monitor,
    patience: int | None,
    checkpoint_minutes: float,
    progress_bar: bool = True,
    ema_decay: float | None = None,
    gradients: bool = False,
) -> list[pl.Callback]:
    """A run's callbacks.

    Args:
        folder: the run's; checkpoints go to ``checkpoints/`` in it.
        monitor: the measurement on the validation split that chooses the best checkpoint and ends training.
        patience: validations without a better one before training ends; None: never.
        checkpoint_minutes: how often the checkpoint to resume from is written, besides every validation.
        progress_bar: whether to show one.
        ema_decay: of the running mean of the weights that is validated and kept; None: the weights themselves are.
        gradients: whether to log the gradient's norm layer by layer.
    """
    best = BestCheckpoint(
        folder / "checkpoints",
        filename=Path(BEST).stem,
        monitor=monitor.key,
        mode=monitor.mode,
        save_weights_only=True,
        enable_version_counter=False,
        save_on_train_epoch_end=False,
    )
    stop = [Patience(monitor.key, mode=monitor.mode, patience=patience)] if patience is not None else []
    bar = [ProgressBar()] if progress_bar else []
    average = [AveragedWeights(decay=ema_decay)] if ema_decay is not None else []
    last = LastCheckpoint(folder / "checkpoints" / LAST, checkpoint_minutes)
    return [Timer(), *bar, *stop, ResumeLogs(), Gradients(last, gradients), best, *average, last]


class ProgressBar(TQDMProgressBar):
    """Lightning's bar without the version number of a logger, which says nothing here."""

    def get_metrics(self, trainer: pl.Trainer, module: pl.LightningModule) -> dict[str, Any]:
        """What stands behind the bar."""
        metrics: dict[str, Any] = super().get_metrics(trainer, module)
        return {name: value for name, value in metrics.items() if name != "v_num"}


class BestCheckpoint(ModelCheckpoint):
    """Keeps the best checkpoint, and knows it again when the run's folder has moved.

    Lightning's own forgets which was the best where the folder has another path than the checkpoint's.
    """

    @property
    def state_key(self) -> str:
        """The name of its state in a checkpoint, that of Lightning's own: earlier versions wrote it so."""
        return super().state_key.replace(type(self).__qualname__, ModelCheckpoint.__qualname__, 1)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up which checkpoint was the best, at the place where it lies now.

        Raises:
            CaptioningError: it is not there.
        """
        score = state_dict["best_model_score"]
        if score is None:
            return
        best = Path(str(self.dirpath)) / BEST
        if not best.exists():
            raise CaptioningError(
                f"{best}: this file is missing, so that the best captioner so far would be lost. Bring it back, or "
                "begin anew with resume=false."
            )
        # none of the state's paths: they are those of another machine, or of a stranger
        paths = {"best_model_path": str(best), "kth_best_model_path": str(best), "last_model_path": ""}
        state = {"best_k_models": {str(best): score}, "kth_value": score, "dirpath": self.dirpath}
        super().load_state_dict({**state_dict, **paths, **state})

    def _remove_checkpoint(self, trainer: pl.Trainer, filepath: str) -> None:
        """Nothing is to be removed: each best one takes the place of the one before."""


class Patience(EarlyStopping):
    """Ends training after so many validations without a better one; a patience that was changed since counts."""

    @property
    def state_key(self) -> str:
        """The name of its state in a checkpoint, that of Lightning's own: earlier versions wrote it so."""
        return super().state_key.replace(type(self).__qualname__, EarlyStopping.__qualname__, 1)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up the counts of an interrupted run, and none of its settings."""
        super().load_state_dict({**state_dict, "patience": self.patience})

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """End a run that had ended already, and was interrupted while its test split was scored."""
        trainer.should_stop = trainer.should_stop or self.wait_count >= self.patience


class AveragedWeights(WeightAveraging, Checkpoint):
    """Validates, and keeps as the best, a running mean of the weights (Polyak & Juditsky 1992) in place of the last.

    After n steps the mean decays by ``min(decay, (1 + n) / (10 + n))``, so that the first validation is not that of
    the untrained weights. It is a ``Checkpoint``, listed behind the one that keeps the best, so that the mean still
    stands in the module when that one writes: Lightning's own would have taken it out, and weights alone are saved
    without asking it.
    """

    def __init__(self, decay: float) -> None:
        """Take the share of the mean that a step leaves, in the long run."""
        super().__init__(use_buffers=False, multi_avg_fn=partial(_average, decay))

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Not yet: the best checkpoint is written later."""

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Go on training the weights themselves."""
        super().on_validation_epoch_end(trainer, pl_module)


@torch.no_grad()
def _average(decay: float, means: Sequence[Tensor], weights: Sequence[Tensor], steps: Tensor | int) -> None:
    """Move the means towards the weights, in place."""
    n = int(steps)
    torch._foreach_lerp_(list(means), list(weights), 1 - min(decay, (1 + n) / (10 + n)))


class LastCheckpoint(Checkpoint):
    """Writes the checkpoint to resume from: every few minutes, and after each epoch's validation.

    It is a ``Checkpoint`` so that Lightning runs it after all other callbacks, whose states it saves.
    """

    def __init__(self, path: Path, minutes: float) -> None:
        """Take the file and how often to write it."""
        self.path, self.seconds = path, 60 * minutes
        self.written = time.monotonic()

    def on_train_batch_end(
        self, trainer: pl.Trainer, module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Write when it is time; an epoch's last batch is left to ``on_train_epoch_end``."""
        accumulating = (batch_idx + 1) % trainer.accumulate_grad_batches != 0
        last = batch_idx + 1 >= trainer.num_training_batches
        due = trainer.strategy.broadcast(time.monotonic() - self.written >= self.seconds)
        if due and not accumulating and not last:
            self._log_step(trainer)
            self.write(trainer)

    def on_train_epoch_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Write after the epoch's validation."""
        self.write(trainer)

    def write(self, trainer: pl.Trainer) -> None:
        """Write now, the log first."""
        for logger in trainer.loggers:
            if isinstance(logger, CSVLogger):
                logger.write()
        trainer.save_checkpoint(self.path)
        self.written = time.monotonic()

    @staticmethod
    def _log_step(trainer: pl.Trainer) -> None:
        """Log the step that has just been taken: Lightning logs it after the callbacks, too late for a checkpoint."""
        connector = trainer._logger_connector
        if connector.should_update_logs:
            row = {**convert_tensors_to_scalars(connector.metrics["log"]), "epoch": trainer.current_epoch}
            for logger in trainer.loggers:
                if isinstance(logger, CSVLogger):
                    logger.log_metrics(row, trainer.fit_loop.epoch_loop._batches_that_stepped)


class ResumeLogs(pl.Callback):
    """Lets the CSV log of a resumed run go on where its checkpoint was written."""

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Runs after the checkpoint was loaded."""
        for logger in trainer.loggers:
            if isinstance(logger, CSVLogger) and trainer.global_step > 0:
                logger.resume(trainer.global_step)
