"""The Lightning module: an encoder, a decoder, and what is done with a batch."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from captioning.core.features import Features
from captioning.core.vocabulary import Vocabulary
from captioning.data.batches import Batch
from captioning.decoders import Decoder
from captioning.encoders import Encoder
from captioning.search import Search
from captioning.training.checkpoint import KEY
from captioning.training.objectives import CrossEntropy, WordLoss
from captioning.training.sampling import never


class CaptioningModule(pl.LightningModule):
    """Trains a captioner, and scores the captions that it generates for whole splits."""

    def __init__(
        self,
        encoder: Encoder,
        decoder: Decoder,
        vocabulary: Vocabulary,
        search: Search,
        objective: CrossEntropy,
        *,
        optimizer: Callable[..., torch.optim.Optimizer],
        schedule: Callable[[int, int], float],
        sampling: Callable[[int], float] = never,
        encoder_lr: float = 1e-5,
        score: Callable[[Sequence[str]], Mapping[str, float]],
        checkpoint: Mapping[str, Any],
        seed: int = 0,
    ) -> None:
        """Take the parts.

        Args:
            encoder: photographs to features.
            decoder: the captioner.
            vocabulary: of the decoder.
            search: finds the captions that are scored.
            objective: the loss of the words.
            optimizer: makes the optimizer from groups of parameters.
            schedule: (step, steps of the run) to the share of the learning rate.
            sampling: step to the probability of feeding the model's own word in training (scheduled sampling).
            encoder_lr: the learning rate of a fine-tuned encoder.
            score: the captions of the validation split, in its order, to scores by name.
            checkpoint: what a checkpoint carries besides weights (``checkpoint.describe``).
            seed: of dropout, and of whatever else a training step draws.
        """
        super().__init__()
        self.encoder, self.decoder = encoder, decoder
        self.vocabulary, self.search, self.objective = vocabulary, search, objective
        self.make_optimizer, self.schedule, self.encoder_lr = optimizer, schedule, encoder_lr
        self.sampling = sampling
        self.score, self.checkpoint, self.seed = score, checkpoint, seed
        self.captions: dict[int, str] = {}

    def features(self, batch: Batch) -> Features:
        """The features of a batch's photographs: stored ones in this module's precision, or freshly encoded."""
        if batch.features is not None:
            return batch.features.to(dtype=torch.get_default_dtype())
        assert batch.images is not None
        features: Features = self.encoder(batch.images)
        return features

    def losses(self, features: Features, batch: Batch, sampling: float = 0.0) -> tuple[WordLoss, dict[str, Tensor]]:
        """The words' loss, and what the decoder adds to it, by name.

        Args:
            features: of the batch's photographs.
            batch: of photographs and captions.
            sampling: the probability of feeding the model's own word; 0 is teacher forcing.
        """
        features = self.decoder.see(features)
        if sampling > 0:
            reading = self.decoder.read_by_steps(features, batch.words, batch.packing, sampling)
        else:
            reading = self.decoder.read(features, batch.words, batch.packing)
        words = self.objective(self.decoder.logits(reading.hidden), batch.targets)
        return words, self.decoder.losses(reading, features, batch.packing, words.log_likelihood)

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Make what a step draws a function of the seed and the step, so that a resumed run draws the same."""
        torch.manual_seed(hash((self.seed, self.trainer.global_step, batch_idx, self.global_rank)) % 2**63)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The loss of a batch: that of its words plus the decoder's own."""
        words, extra = self.losses(self.features(batch), batch, self.sampling(self.trainer.global_step))
        loss = words.loss + sum(extra.values())
        size = len(batch.targets)
        self.log("train/loss", loss.detach(), prog_bar=True, batch_size=size)
        self.log("train/nll", -words.log_likelihood.detach().mean(), batch_size=size)
        self.log_dict({f"train/{name}": value.detach() for name, value in extra.items()}, batch_size=size)
        assert isinstance(loss, Tensor)
        return loss

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: int | float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip as the trainer says, and log the norm before (Pascanu et al. 2013, arXiv 1211.5063)."""
        gradients = [parameter.grad for parameter in self.parameters() if parameter.grad is not None]
        self.log("train/gradient_norm", nn.utils.get_total_norm(gradients))
        self.clip_gradients(optimizer, gradient_clip_val, gradient_clip_algorithm)

    def on_validation_epoch_start(self) -> None:
        """Forget the captions of the split before."""
        self.captions = {}

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Generate captions, and take the words' loss for comparison."""
        features = self.features(batch)
        if len(batch.targets):  # photographs whose captions have no known word are captioned all the same
            words, _ = self.losses(features, batch)
            self.log("val/nll", -words.log_likelihood.mean(), batch_size=len(batch.targets), sync_dist=True)
        found = self.search(self.decoder, features)
        for photo, caption in zip(batch.photos.tolist(), found.tokens[:, 0].tolist(), strict=True):
            self.captions[photo] = self.vocabulary.decode(caption)

    def on_validation_epoch_end(self) -> None:
        """Score the whole split's captions at once, gathered over all ranks."""
        if self.trainer.sanity_checking:
            return
        if self.trainer.world_size > 1:
            parts: list[dict[int, str]] = [{} for _ in range(self.trainer.world_size)]
            torch.distributed.all_gather_object(parts, self.captions)
            self.captions = {photo: caption for part in parts for photo, caption in part.items()}
        scores = self.score([self.captions[photo] for photo in sorted(self.captions)])
        self.log_dict({f"val/{name}": value for name, value in scores.items()})

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Make one file enough to caption a photograph."""
        checkpoint[KEY] = dict(self.checkpoint)

    def configure_optimizers(self) -> Any:
        """One group for the decoder, one with its own rate for what is trained of the encoder."""
        groups: list[dict[str, Any]] = [{"params": [p for p in self.decoder.parameters() if p.requires_grad]}]
        tuned = [p for p in self.encoder.parameters() if p.requires_grad]
        if tuned:
            groups.append({"params": tuned, "lr": self.encoder_lr})
        optimizer = self.make_optimizer(groups)
        steps = int(self.trainer.estimated_stepping_batches)
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: self.schedule(step, steps))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}
