"""The common part of all training: seeds, optimizer and schedule, the loss, and the content of a checkpoint."""

from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from captioning.core.errors import CaptioningError
from captioning.core.sums import Sum
from captioning.runs.checkpoint import KEY, position_in

# names of callbacks' states in checkpoints, and their beginnings in version 1
EARLIER_KEYS = {"captioning.BestCheckpoint": "ModelCheckpoint{", "captioning.Patience": "EarlyStopping{"}
FOREVER = 2**53  # steps of a run without end


class TrainingModule(pl.LightningModule):
    """A network in training; a task implements ``losses``, and ``measured`` or its own ``validation_step``.

    Attributes:
        own_part: the content of a checkpoint beside the weights, see ``captioning.runs.checkpoint.own_part``; set by
            the caller of the training, empty by default.
    """

    def __init__(
        self,
        *,
        optimizer: Callable[..., torch.optim.Optimizer],
        schedule: Callable[[int, int], float],
        seed: int,
    ) -> None:
        """Take the parts.

        Args:
            optimizer: a function from groups of parameters (``params``) to the optimizer.
            schedule: a function from (step, steps of the run) to the fraction of the learning rate.
            seed: the seed of dropout and all other random numbers of a step.
        """
        super().__init__()
        own = type(self)
        if own.measured is TrainingModule.measured and own.validation_step is TrainingModule.validation_step:
            raise CaptioningError(f"{own.__name__} needs a method measured, or a validation_step of its own.")
        self.make_optimizer, self.schedule = optimizer, schedule
        self.seed = seed
        self.own_part: Mapping[str, Any] = {}

    @abstractmethod
    def losses(self, batch: Any) -> dict[str, Sum]:
        """The sums of this rank's batch, by name; trained sums have a gradient.

        Each mean is logged as ``train/NAME``, and the sum of the trained means as ``train/loss``.
        """

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """The loss of a batch: the sum of the trained means over the batches of all ranks."""
        sums = _checked(self.losses(batch), getattr(self, "objective", self))
        counts = [each.count for each in sums.values()]
        means = dict(zip(sums, self._means(list(sums.values())), strict=True))
        loss = torch.stack([mean for name, mean in means.items() if sums[name].trained]).sum()
        size = max(counts, default=1)
        self.log("train/loss", loss.detach(), prog_bar=True, batch_size=size, sync_dist=True)
        logged = {f"train/{name}": mean.detach() for name, mean in means.items() if name != "loss"}
        self.log_dict(logged, batch_size=size, sync_dist=True)
        return loss

    def _means(self, sums: list[Sum]) -> list[Tensor]:
        """This rank's sums, scaled so that losses and gradients averaged over ranks are means of the global batch."""
        if self.trainer.world_size == 1:
            return [each.mean for each in sums]
        counts = torch.tensor([each.count for each in sums], dtype=torch.float, device=self.device)
        every: Tensor = self.trainer.strategy.reduce(counts, reduce_op="sum")
        shares = self.trainer.world_size / every.clamp_min(1)
        return [each.total * share for each, share in zip(sums, shares, strict=True)]

    def measured(self, batch: Any, split: str) -> dict[str, Sum]:
        """The sums that a batch adds to the measures, by measure name; each measure is a mean over a split.

        Args:
            batch: a batch of the split, on this module's device.
            split: the split's name.
        """
        raise NotImplementedError

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """Log the measures of a batch."""
        self.log_means(self.measured(batch, "val"))

    def log_means(self, sums: Mapping[str, Sum]) -> None:
        """Log the means of a validation batch as ``val/NAME``; the counts weight the mean over a split."""
        ranks = self.trainer.world_size  # Lightning's mean of the ranks' counts is an integer: of multiples it is exact
        for name, each in sums.items():
            if each.count:
                self.log(f"val/{name}", each.mean, batch_size=each.count * ranks, sync_dist=True)

    def trained_groups(self) -> list[dict[str, Any]]:
        """The groups of parameters for the optimizer."""
        return [{"params": [parameter for parameter in self.parameters() if parameter.requires_grad]}]

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Seed the random numbers of a step by the seed and the step, so that a resumed run draws the same numbers."""
        torch.manual_seed(hash((self.seed, self.trainer.global_step, batch_idx, self.global_rank)) % 2**63)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add this package's part, so that the file alone suffices to resume."""
        checkpoint[KEY] = dict(self.own_part)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore the position of the training data."""
        data: Any = self.trainer.datamodule  # type: ignore[attr-defined]
        data.resumed = position_in(checkpoint)
        states = checkpoint["callbacks"]
        for name, before in EARLIER_KEYS.items():
            found = next((key for key in states if key.startswith(before)), None)
            if name not in states and found is not None and checkpoint[KEY].get("version") == 1:
                states[name] = states.pop(found)

    def configure_optimizers(self) -> Any:
        """The optimizer, and the learning rate's schedule by step."""
        optimizer: Any = self.make_optimizer(params=self.trained_groups())
        # A fused optimizer offers to unscale half-precision gradients in its step, which would be after clipping.
        optimizer._step_supports_amp_scaling = False
        steps = int(min(self.trainer.estimated_stepping_batches, FOREVER))  # infinite for trainer.max_epochs=-1
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: self.schedule(step, steps))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}


def _checked(sums: Any, source: Any) -> dict[str, Sum]:
    """The sums of a batch, as an objective must give them.

    Raises:
        CaptioningError: the sums are something else, or none of them is trained on.
    """
    name = type(source).__name__
    if not isinstance(sums, dict) or not all(isinstance(each, Sum) for each in sums.values()):
        raise CaptioningError(f"{name} gives {type(sums).__name__}: a dict is wanted of names to Sum(total, count).")
    trained = [key for key, each in sums.items() if each.trained]
    if not trained or not any(sums[key].total.requires_grad for key in trained):
        raise CaptioningError(f"{name} gives no sum to train on: one with trained=True and a gradient is needed.")
    if "loss" in sums and len(trained) > 1:
        raise CaptioningError(f"{name} names one of several sums loss, which is the name of all of them together.")
    return sums
