"""Callbacks of a training run: best and resume checkpoints, early stopping, averaged weights, and resumed logs."""

import logging
import math
import sys
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
from pytorch_lightning.callbacks import ProgressBar as LightningBar
from torch import Tensor

from captioning.core.archives import verify_archive
from captioning.core.errors import CaptioningError
from captioning.core.progress import SECONDS
from captioning.core.signals import Stopped, asked_to_end, rearm
from captioning.runs.metrics_file import CSVLogger
from captioning.runs.monitor import Monitor
from captioning.runs.places import BEST, LAST
from captioning.training.gradient_norms import Gradients

log = logging.getLogger(__name__)


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
        folder: the run's folder, with checkpoints in ``checkpoints/``.
        monitor: the measurement on the validation split that chooses the best checkpoint and ends training.
        patience: the number of validations without improvement before training ends; None for no early end.
        checkpoint_minutes: minutes between two resume checkpoints; each validation writes one, too.
        progress_bar: True to show a progress bar.
        ema_decay: the decay of the running mean of the weights, which is validated and saved; None for the weights
            themselves.
        gradients: True to log the gradient's norm of each layer.
    """
    best = BestCheckpoint(
        folder / "checkpoints",
        filename=Path(BEST).stem,
        monitor=monitor.key,
        loss=monitor.loss_key,
        mode=monitor.mode,
        save_weights_only=True,
        enable_version_counter=False,
        save_on_train_epoch_end=False,
    )
    stop = (
        [Patience(monitor.key, mode=monitor.mode, patience=patience, loss=monitor.loss_key)]
        if patience is not None
        else []
    )
    bar = [ProgressBar() if sys.stderr.isatty() else ProgressLines()] if progress_bar else []
    average = [AveragedWeights(decay=ema_decay)] if ema_decay is not None else []
    last = LastCheckpoint(folder / "checkpoints" / LAST, checkpoint_minutes)
    return [Timer(), *bar, *stop, ResumeLogs(), Gradients(last, gradients), best, *average, last]


class ProgressBar(TQDMProgressBar):
    """Lightning's progress bar without the logger's version number."""

    def get_metrics(self, trainer: pl.Trainer, module: pl.LightningModule) -> dict[str, Any]:
        """The values displayed behind the bar."""
        metrics: dict[str, Any] = super().get_metrics(trainer, module)
        return {name: value for name, value in metrics.items() if name != "v_num"}


class ProgressLines(LightningBar):
    """Progress in a file or a pipe, in place of the bar: a line every half a minute, without control characters.

    It is a bar to Lightning, which otherwise adds one of its own.
    """

    def __init__(self, seconds: float = SECONDS) -> None:
        """Take the seconds between two lines."""
        super().__init__()
        self.seconds, self.told, self.batches = seconds, time.monotonic(), 0

    def enable(self) -> None:
        """Do nothing: the process that says lines is known."""

    def disable(self) -> None:
        """Do nothing, as ``enable``."""

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Count from the epoch's beginning: validation is no training."""
        self.told, self.batches = time.monotonic(), 0

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Say a line, if it is due."""
        self.batches += 1
        passed = time.monotonic() - self.told
        if passed < self.seconds or not trainer.is_global_zero:
            return
        rate, of = self.batches / max(passed, 1e-9), trainer.num_training_batches
        left = max(0.0, (of - batch_idx - 1) / rate)
        log.info(
            "epoch %d: %.0f %%, %d of %.0f batches, %.0f s left in it, %.2f batches/s",
            *(trainer.current_epoch + 1, 100 * (batch_idx + 1) / of, batch_idx + 1, of, left, rate),
        )
        self.told, self.batches = time.monotonic(), 0


class BestCheckpoint(ModelCheckpoint):
    """A checkpoint callback that keeps the best checkpoint, also after a move of the run's folder.

    Lightning's own callback forgets the best checkpoint if the folder's path differs from the path in the checkpoint,
    and of equal scores it keeps the first: a score that stays at 0 would choose the first epoch. Here the validation
    loss decides between equal scores.
    """

    def __init__(self, *arguments: Any, loss: str | None = None, **settings: Any) -> None:
        """Take the arguments of ``ModelCheckpoint``, and the logged name of the validation loss."""
        super().__init__(*arguments, **settings)
        self.loss = loss
        self.best_loss = math.inf
        self.validations, self.moved = 0, False

    def check_monitor_top_k(self, trainer: pl.Trainer, current: Tensor | None = None) -> bool:
        """True if the present model is better than the best one so far, or as good with a lower validation loss."""
        best = self.best_model_score
        better = super().check_monitor_top_k(trainer, current)
        if current is None:
            return better
        self.validations += 1
        self.moved = self.moved or (best is not None and bool(current != best))
        lower = not better and best is not None and bool(current == best) and self._loss(trainer) < self.best_loss
        return better or bool(trainer.strategy.reduce_boolean_decision(lower))

    def _update_best_and_save(self, current: Tensor, trainer: pl.Trainer, candidates: dict[str, Tensor]) -> None:
        self.best_loss = self._loss(trainer)
        super()._update_best_and_save(current, trainer, candidates)

    def _loss(self, trainer: pl.Trainer) -> float:
        return _logged(trainer, self.loss)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Say if the score has chosen nothing."""
        if self.validations > 1 and not self.moved and trainer.is_global_zero and not trainer.interrupted:
            chosen = f"the checkpoint kept is that of the lowest {self.loss}" if self.loss else "the first one is kept"
            log.warning(
                "%s was %g in every validation, so it chose nothing: %s. Take more validation photographs, or set "
                "monitor=….",
                *(self.monitor, float(self.best_model_score or 0), chosen),
            )

    @property
    def state_key(self) -> str:
        """The name of the callback's state in a checkpoint: not that of a user's own ``ModelCheckpoint``."""
        return f"captioning.{type(self).__qualname__}"

    def state_dict(self) -> dict[str, Any]:
        """The state of ``ModelCheckpoint``, with the loss of the best checkpoint."""
        own = {"best_loss": self.best_loss, "validations": self.validations, "moved": self.moved}
        return {**super().state_dict(), **own}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the best checkpoint under its present path.

        Raises:
            CaptioningError: the best checkpoint's file is missing or damaged.
        """
        score = state_dict["best_model_score"]
        if score is None:
            return
        self.best_loss = state_dict.get("best_loss", math.inf)  # earlier versions kept none
        self.validations, self.moved = state_dict.get("validations", 0), state_dict.get("moved", False)
        best = Path(str(self.dirpath)) / BEST
        if not best.exists():
            raise CaptioningError(
                f"{best}: this file is missing, so that the best captioner so far would be lost. Bring it back, or "
                "begin anew with resume=false."
            )
        verify_archive(best)
        # The state's paths are not used: they may be those of another machine or of a stranger.
        paths = {"best_model_path": str(best), "kth_best_model_path": str(best), "last_model_path": ""}
        state = {"best_k_models": {str(best): score}, "kth_value": score, "dirpath": self.dirpath}
        super().load_state_dict({**state_dict, **paths, **state})

    def _remove_checkpoint(self, trainer: pl.Trainer, filepath: str) -> None:
        """Remove nothing: each best checkpoint replaces the previous one."""


class Patience(EarlyStopping):
    """Early stopping after ``patience`` validations without improvement; a resumed run uses the new ``patience``.

    Validations do not count before the score has moved for the first time, while the loss changes: a score that is
    still 0, as CIDEr is of the first captions of a small data set, says nothing.
    """

    def __init__(self, *arguments: Any, loss: str | None = None, **settings: Any) -> None:
        """Take the arguments of ``EarlyStopping``, and the logged name of the validation loss."""
        super().__init__(*arguments, **settings)
        self.loss = loss
        self.losses = (math.inf, math.inf)  # of the previous and of the present validation
        self.moved = False

    def _run_early_stopping_check(self, trainer: pl.Trainer) -> None:
        self.losses = self.losses[1], _logged(trainer, self.loss)
        super()._run_early_stopping_check(trainer)

    def _evaluate_stopping_criteria(self, current: Tensor) -> tuple[bool, str | None]:
        same = float(current) == float(self.best_score)
        self.moved = self.moved or (not same and math.isfinite(self.best_score))
        if same and not self.moved and self.losses[0] != self.losses[1]:
            return False, None
        found: tuple[bool, str | None] = super()._evaluate_stopping_criteria(current)
        return found

    def state_dict(self) -> dict[str, Any]:
        """The state of ``EarlyStopping``, with the last loss and whether the score has moved."""
        return {**super().state_dict(), "last_loss": self.losses[1], "moved": self.moved}

    @property
    def state_key(self) -> str:
        """The name of the callback's state in a checkpoint: not that of a user's own ``EarlyStopping``."""
        return f"captioning.{type(self).__qualname__}"

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the counts of an interrupted run, but no settings."""
        self.losses = math.inf, state_dict.get("last_loss", math.inf)
        self.moved = state_dict.get("moved", True)  # earlier versions did not say
        super().load_state_dict({**state_dict, "patience": self.patience})

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Stop at once if the run had already reached its end and was interrupted during the test."""
        trainer.should_stop = trainer.should_stop or self.wait_count >= self.patience


def _logged(trainer: pl.Trainer, name: str | None) -> float:
    """A logged measurement; infinity where it is missing or NaN."""
    value = float(trainer.callback_metrics.get(name or "", torch.tensor(math.inf)))
    return math.inf if math.isnan(value) else value


class AveragedWeights(WeightAveraging, Checkpoint):
    """Averaging of weights: a running mean of the weights (Polyak & Juditsky 1992) is validated and saved as the best.

    After n steps the mean decays by ``min(decay, (1 + n) / (10 + n))``, so that the first validation does not use the
    untrained weights. The class is a ``Checkpoint`` and stands behind ``BestCheckpoint`` in the list of callbacks. The
    module therefore still holds the mean when ``BestCheckpoint`` writes. Lightning's own callback would have restored
    the weights before, and a checkpoint of weights alone does not call it.
    """

    def __init__(self, decay: float) -> None:
        """Take the fraction of the mean that a step keeps, in the long run."""
        super().__init__(use_buffers=False, multi_avg_fn=partial(_average, decay))

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Keep the mean in the module: the best checkpoint is written later."""

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Restore the weights themselves for training."""
        super().on_validation_epoch_end(trainer, pl_module)


@torch.no_grad()
def _average(decay: float, means: Sequence[Tensor], weights: Sequence[Tensor], steps: Tensor | int) -> None:
    """Move the means towards the weights, in place."""
    n = int(steps)
    torch._foreach_lerp_(list(means), list(weights), 1 - min(decay, (1 + n) / (10 + n)))


class LastCheckpoint(Checkpoint):
    """A callback that writes the resume checkpoint: every few minutes, and after each epoch's validation.

    The class is a ``Checkpoint``, because Lightning runs such callbacks after all others, whose states the checkpoint
    saves.
    """

    def __init__(self, path: Path, minutes: float) -> None:
        """Take the file and the minutes between two checkpoints."""
        self.path, self.seconds = path, 60 * minutes
        self.written = time.monotonic()

    def on_train_batch_end(
        self, trainer: pl.Trainer, module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Write a checkpoint if it is due; ``on_train_epoch_end`` writes after an epoch's last batch."""
        accumulating = (batch_idx + 1) % trainer.accumulate_grad_batches != 0
        last = batch_idx + 1 >= trainer.num_training_batches
        late = time.monotonic() - self.written >= self.seconds
        due, asked = trainer.strategy.broadcast((late, asked_to_end()))
        if (due or asked) and not accumulating and not last:
            self._log_step(trainer)
            self.write(trainer)
            if asked:
                raise Stopped(asked)

    def on_sanity_check_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Take the signals that ask to end: Lightning's handlers would end in the middle of a validation."""
        rearm()

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Take the signals, also where Lightning checks nothing before training."""
        rearm()

    def on_train_epoch_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Write a checkpoint after the epoch's validation; end here if a signal asks for it."""
        self.write(trainer)
        if asked := trainer.strategy.broadcast(asked_to_end()):
            raise Stopped(asked)

    def write(self, trainer: pl.Trainer) -> None:
        """Write a checkpoint now, after the log."""
        for logger in trainer.loggers:
            if isinstance(logger, CSVLogger):
                logger.write()
        trainer.save_checkpoint(self.path)
        self.written = time.monotonic()

    @staticmethod
    def _log_step(trainer: pl.Trainer) -> None:
        """Log the last step: Lightning logs a step after the callbacks, too late for a checkpoint."""
        connector = trainer._logger_connector
        if connector.should_update_logs:
            row = {**convert_tensors_to_scalars(connector.metrics["log"]), "epoch": trainer.current_epoch}
            for logger in trainer.loggers:
                if isinstance(logger, CSVLogger):
                    logger.log_metrics(row, trainer.fit_loop.epoch_loop._batches_that_stepped)


class ResumeLogs(pl.Callback):
    """A callback with which the CSV log of a resumed run continues from the step of the checkpoint.

    The checkpoint holds the measurements of every validation. A log that says others is damaged: it would name another
    epoch as the best one.
    """

    def __init__(self) -> None:
        """Start without a validation."""
        self.validations: list[dict[str, float]] = []
        self.known = True  # False in a run that an earlier version began

    def on_validation_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Keep the measurements."""
        if not trainer.sanity_checking:
            measured = convert_tensors_to_scalars(dict(trainer.callback_metrics))
            self.validations.append({name: value for name, value in measured.items() if name.startswith("val/")})

    def state_dict(self) -> dict[str, Any]:
        """The measurements of every validation."""
        return {"validations": self.validations} if self.known else {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the measurements."""
        self.known = "validations" in state_dict
        self.validations = list(state_dict.get("validations", []))

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Cut the log to the checkpoint's step, once the checkpoint is loaded.

        Raises:
            CaptioningError: the log is missing or damaged.
        """
        for logger in trainer.loggers:
            if isinstance(logger, CSVLogger) and trainer.global_step > 0:
                logger.resume(trainer.global_step, self.validations if self.known else None)
