"""The Lightning module: an encoder, a decoder, and what is done with a batch."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from captioning.core.features import Features
from captioning.core.vocabulary import Vocabulary
from captioning.data.batches import Batch
from captioning.decoders import Decoder
from captioning.encoders import Encoder
from captioning.metrics import NAMES
from captioning.search import Search
from captioning.training.module import TrainingModule
from captioning.training.objectives import CrossEntropy, WordLoss
from captioning.training.scheduled_sampling import never


class CaptioningModule(TrainingModule):
    """Trains a captioner, and scores the captions that it generates for whole splits."""

    monitors: ClassVar = NAMES

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
        config: Mapping[str, Any],
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
            config: of the run.
        """
        super().__init__(decoder, vocabulary, optimizer=optimizer, schedule=schedule, config=config)
        self.encoder, self.encoder_lr = encoder, encoder_lr
        self.vocabulary, self.search, self.objective = vocabulary, search, objective
        self.sampling, self.score = sampling, score
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
        words = self.objective.of(self.decoder, reading.hidden, batch.targets, len(batch.packing.captions))
        return words, self.decoder.losses(reading, features, batch.packing, words.log_likelihood)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The loss of a batch: that of its words plus the decoder's own."""
        words, extra = self.losses(self.features(batch), batch, self.sampling(self.trainer.global_step))
        size, sequences = len(batch.targets), len(batch.packing.captions)
        by_word, by_sequence = self._shares(size, sequences)
        extra = {name: by_word * value for name, value in extra.items()}
        loss = words.loss * (by_sequence if self.objective.per == "sequence" else by_word) + sum(extra.values())
        logged = {"nll": -by_word * words.log_likelihood.mean(), **extra}
        self.log("train/loss", loss.detach(), prog_bar=True, batch_size=size, sync_dist=True)
        self.log_dict(
            {f"train/{name}": value.detach() for name, value in logged.items()}, batch_size=size, sync_dist=True
        )
        assert isinstance(loss, Tensor)
        return loss

    def _shares(self, *counts: int) -> Tensor:
        """What this rank's means weigh, so that the mean over ranks, of losses as of gradients, is the batch's own.

        Args:
            counts: of what each mean is over, on this rank.
        """
        mine = torch.tensor(counts, dtype=torch.float, device=self.device)
        every: Tensor = self.trainer.strategy.reduce(mine.clone(), reduce_op="sum")
        shares: Tensor = mine * self.trainer.world_size / every
        return shares

    def on_validation_epoch_start(self) -> None:
        """Forget the captions of the split before; what a search draws is a function of the seed and the step."""
        self.captions = {}
        torch.manual_seed(hash((self.seed, self.trainer.global_step, -1, self.global_rank)) % 2**63)

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

    def groups(self) -> list[dict[str, Any]]:
        """One group for the decoder, one with its own rate for what is trained of the encoder."""
        tuned = [p for p in self.encoder.parameters() if p.requires_grad]
        return [*super().groups(), *([{"params": tuned, "lr": self.encoder_lr}] if tuned else [])]
