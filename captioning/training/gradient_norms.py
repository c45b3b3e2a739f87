"""Gradients in training: their norms, the number of clipped steps, and an error for gradients that are not finite."""

import math
from pathlib import Path
from typing import Any, Protocol

import pytorch_lightning as pl
import torch
from torch import Tensor

from captioning.core.errors import CaptioningError
from captioning.training.sharding import whole

PATIENCE = 20  # consecutive steps that a gradient scaler may skip: 20 halvings take its first scale (2^16) below 1


class Writer(Protocol):
    """A callback that writes the checkpoint from which a run is resumed."""

    path: Path

    def write(self, trainer: pl.Trainer) -> None:
        """Write the checkpoint now."""


class Gradients(pl.Callback):
    """A log of the gradient's norm before clipping (Pascanu et al. 2013, arXiv 1211.5063), and a stop at nan and inf.

    With half precision (``16-mixed``), the gradient scaler skips a step whose gradient is not finite and lowers its
    scale. The scaler finds a suitable scale in this way, and training ends only if the scaler finds none.
    """

    def __init__(self, last: Writer, layers: bool = False) -> None:
        """Take the checkpoint callback and the amount of logging.

        Args:
            last: the callback that writes the resume checkpoint.
            layers: True to log also the norm of each layer (``gradients/recurrent.layers.0.Whh``) and the fraction of
                clipped steps so far (``gradients/clipped``).
        """
        self.last, self.layers = last, layers
        self.steps = self.clipped = self.skipped = 0
        self.batches: list[Any] = []
        self.losses: list[Tensor] = []
        self.buffers: list[tuple[Tensor, Tensor]] = []

    def state_dict(self) -> dict[str, int]:
        """The counts of steps and of clipped steps, for a resumed run."""
        return {"steps": self.steps, "clipped": self.clipped}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Restore the counts."""
        self.steps, self.clipped = state_dict["steps"], state_dict["clipped"]

    def on_train_batch_start(self, trainer: pl.Trainer, module: pl.LightningModule, batch: Any, batch_idx: int) -> None:
        """Keep the step's batch and buffers: no checkpoint may hold the buffers after a batch without a finite loss."""
        if not self.batches:
            self.buffers = [(buffer, buffer.clone()) for buffer in _changing(module)]
        self.batches.append(batch)

    def on_before_backward(self, trainer: pl.Trainer, module: pl.LightningModule, loss: Tensor) -> None:
        """Keep the loss."""
        self.losses.append(loss.detach())

    def on_before_optimizer_step(
        self, trainer: pl.Trainer, module: pl.LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        """Log the gradients of one step, which may be accumulated over several batches.

        Raises:
            CaptioningError: a loss or a gradient is not finite; a checkpoint was saved before.
        """
        norms = norms_of(module)
        total = torch.stack(list(norms.values())).norm()
        # A single boolean: the step waits for the device only once.
        finite = trainer.strategy.reduce_boolean_decision(bool((total + torch.stack(self.losses).sum()).isfinite()))
        scaled = getattr(trainer.precision_plugin, "scaler", None) is not None
        self.skipped = 0 if finite else self.skipped + 1
        if not finite and not (scaled and self.skipped <= PATIENCE and all(loss.isfinite() for loss in self.losses)):
            self._stop(trainer, norms)
        self.batches, self.losses = [], []
        module.log("train/gradient_norm", total)
        if self.layers:
            self.steps += 1
            self.clipped += is_clipped(trainer, module, total)
            shares = {"gradients/clipped": self.clipped / self.steps}
            module.log_dict(shares | {f"gradients/{name}": norm for name, norm in by_layer(norms).items()})

    def _stop(self, trainer: pl.Trainer, norms: dict[str, Tensor]) -> None:
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        batches = [
            (data.describe_batch(batch), float(loss)) for batch, loss in zip(self.batches, self.losses, strict=True)
        ]
        if trainer.world_size > 1:
            parts: list[list[tuple[str, float]]] = [[] for _ in range(trainer.world_size)]
            torch.distributed.all_gather_object(parts, batches)
            batches = [batch for part in parts for batch in part]
        bad = [(batch, loss) for batch, loss in batches if not math.isfinite(loss)]
        if bad:
            what = f"the loss is {bad[0][1]}"
        else:
            name, norm = next((name, norm) for name, norm in norms.items() if not norm.isfinite())
            what = f"the gradient of {name} is {float(norm)}"
        where = "; ".join(batch for batch, _ in bad or batches)
        step = trainer.global_step
        self._save(trainer)
        left = (
            f"{self.last.path} holds the state before this step: the same command goes on from there, with the same "
            "batch. If nothing is wrong with it, train under another name (name=…)"
            if step
            else "It was the first step. If nothing is wrong with its batch, train"
        )
        raise CaptioningError(
            f"Step {step}: {what}, so training ends here. The batch: {where}. {left} with a lower optimizer.lr or a "
            "smaller trainer.gradient_clip_val."
        )

    def _save(self, trainer: pl.Trainer) -> None:
        """Save the state before the step's batches; at the first step of an epoch such a checkpoint exists already."""
        for buffer, before in self.buffers:
            buffer.copy_(before)
        progress = trainer.fit_loop.epoch_loop.batch_progress
        progress.is_last_batch = False
        for count in (progress.total, progress.current):
            count.completed -= len(self.batches) - 1
            count.reset_on_restart()
        if progress.current.completed > 0:
            self.last.write(trainer)


def norms_of(module: torch.nn.Module) -> dict[str, Tensor]:
    """The norm of each parameter's gradient by parameter name, in the module's order."""
    gradients = {name: parameter.grad for name, parameter in module.named_parameters() if parameter.grad is not None}
    norms = torch._foreach_norm(list(gradients.values()))
    return dict(zip(gradients, map(whole, norms), strict=True))


def by_layer(norms: dict[str, Tensor]) -> dict[str, Tensor]:
    """The norms of layers: one for ``decoder.recurrent.layers.0.Whh.weight`` and ``.bias``, without the ``decoder``."""
    layers: dict[str, list[Tensor]] = {}
    for name, norm in norms.items():
        layers.setdefault(name.removeprefix("decoder.").removesuffix(".weight").removesuffix(".bias"), []).append(norm)
    return {name: torch.stack(parts).norm() for name, parts in layers.items()}


def is_clipped(trainer: pl.Trainer, module: torch.nn.Module, total: Tensor) -> bool:
    """True if the trainer will clip: by the gradient's norm, or by the value of its largest element."""
    limit = trainer.gradient_clip_val
    if not limit:
        return False
    if trainer.gradient_clip_algorithm == "value":
        gradients = [whole(parameter.grad) for parameter in module.parameters() if parameter.grad is not None]
        total = torch.stack(torch._foreach_norm(gradients, float("inf"))).max()
    return bool(total > limit)


def _changing(module: torch.nn.Module) -> list[Tensor]:
    """The buffers that a step may change; the encoder's statistics are fixed and left out."""
    return [buffer for name, buffer in module.named_buffers() if not name.startswith("encoder.")]
