"""What all training has in common: seeds, optimizer and schedule, and what a checkpoint carries."""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import pytorch_lightning as pl
import torch

from captioning.core.vocabulary import CharacterVocabulary, Vocabulary
from captioning.decoders import Decoder
from captioning.runs.checkpoint import KEY, describe, position_in


class TrainingModule(pl.LightningModule):
    """A decoder in training.

    Attributes:
        monitors: what its validation measures that may choose the best checkpoint, as ``val/NAME``.
    """

    monitors: ClassVar[tuple[str, ...]]

    def __init__(
        self,
        decoder: Decoder,
        vocabulary: Vocabulary | CharacterVocabulary,
        *,
        optimizer: Callable[..., torch.optim.Optimizer],
        schedule: Callable[[int, int], float],
        config: Mapping[str, Any],
    ) -> None:
        """Take the parts.

        Args:
            decoder: what is trained.
            vocabulary: of the decoder.
            optimizer: makes the optimizer from groups of parameters.
            schedule: (step, steps of the run) to the share of the learning rate.
            config: of the run, for the checkpoint; its seed is that of dropout, and of whatever else a step draws.
        """
        super().__init__()
        self.decoder = decoder
        self.make_optimizer, self.schedule = optimizer, schedule
        self.checkpoint, self.seed = describe(config, vocabulary), config["seed"]

    def groups(self) -> list[dict[str, Any]]:
        """What the optimizer is given."""
        return [{"params": [p for p in self.decoder.parameters() if p.requires_grad]}]

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Make what a step draws a function of the seed and the step, so that a resumed run draws the same."""
        torch.manual_seed(hash((self.seed, self.trainer.global_step, batch_idx, self.global_rank)) % 2**63)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Make one file enough to go on without this run's folder."""
        checkpoint[KEY] = dict(self.checkpoint)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Let the data go on where the checkpoint was written."""
        data: Any = self.trainer.datamodule  # type: ignore[attr-defined]
        data.resumed = position_in(checkpoint)

    def configure_optimizers(self) -> Any:
        """The optimizer, and the learning rate step by step."""
        optimizer: Any = self.make_optimizer(self.groups())
        # a fused optimizer offers to unscale half precision's gradients in its step: after they have been clipped
        optimizer._step_supports_amp_scaling = False
        steps = int(self.trainer.estimated_stepping_batches)
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: self.schedule(step, steps))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}
