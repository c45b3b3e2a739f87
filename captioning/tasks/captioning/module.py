"""The Lightning module of captioning: an encoder, a decoder, and the training and validation steps."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from captioning.core.features import Features
from captioning.core.sums import Sum
from captioning.core.vocabulary import Vocabulary
from captioning.data.batches import Batch
from captioning.decoders import Decoder
from captioning.encoders import Encoder
from captioning.search import Search
from captioning.tasks.photographs import features_of
from captioning.training.module import TrainingModule
from captioning.training.objectives import Objective, word_loss


class CaptioningModule(TrainingModule):
    """The training of a captioner, validated by the captions that it generates for whole splits."""

    def __init__(
        self,
        encoder: nn.Module,
        decoder: Decoder,
        vocabulary: Vocabulary,
        search: Search,
        objective: Objective,
        *,
        score: Callable[[Sequence[str]], Mapping[str, float]],
        encoder_lr: float = 1e-5,
        **common: Any,
    ) -> None:
        """Take the parts.

        Args:
            encoder: the model from photographs (or what else ``features_of`` gives it) to features.
            decoder: the captioner.
            vocabulary: the vocabulary of the decoder.
            search: the search for the captions to score.
            objective: the quantity that a step minimizes.
            score: a function from the captions of the validation split, in the split's order, to scores by name.
            encoder_lr: the learning rate of a fine-tuned encoder.
            common: the arguments of ``TrainingModule``.
        """
        super().__init__(**common)
        self.encoder, self.decoder, self.encoder_lr = encoder, decoder, encoder_lr
        self.vocabulary, self.search = vocabulary, search.for_vocabulary(vocabulary)
        self.objective = objective
        self.score = score
        self.captions: dict[int, str] = {}

    def features_of(self, batch: Batch) -> Features:
        """The features of a batch: of its photographs, or of what else a task's encoder reads."""
        assert isinstance(self.encoder, Encoder)
        return features_of(batch, self.encoder)

    def text_of(self, caption: Sequence[int]) -> str:
        """The text of a caption's numbers."""
        return self.vocabulary.decode(caption)

    def losses(self, batch: Batch) -> dict[str, Sum]:
        """The sums of the objective for a batch."""
        features = self.features_of(batch)
        sums: dict[str, Sum] = self.objective(self.decoder, features, batch, self.trainer.global_step)
        return sums

    def on_validation_epoch_start(self) -> None:
        """Clear the captions of the previous validation; the seed and the step determine a search's random numbers."""
        self.captions = {}
        torch.manual_seed(hash((self.seed, self.trainer.global_step, -1, self.global_rank)) % 2**63)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Generate captions, and compute the words' log-likelihood for comparison."""
        features = self.features_of(batch)
        self.log_means({"nll": self._nll(features, batch)})
        found = self.search(self.decoder, features)
        for photo, caption in zip(batch.photos.tolist(), found.tokens[:, 0].tolist(), strict=True):
            self.captions[photo] = self.text_of(caption)

    def _nll(self, features: Features, batch: Batch) -> Sum:
        """The negative log-likelihood of a batch's words under teacher forcing, for any objective."""
        if not len(batch.targets):  # photographs whose captions have no known word are captioned, too
            return Sum(batch.targets.new_zeros((), dtype=torch.float), 0)
        outputs = self.decoder.teacher_force(features, batch.words, batch.packing)
        return Sum(word_loss(self.decoder, outputs.hidden, batch.targets)[0], len(batch.targets))

    def on_validation_epoch_end(self) -> None:
        """Score the captions of the whole split at once, gathered over all ranks."""
        if self.trainer.sanity_checking:
            return
        if self.trainer.world_size > 1:
            parts: list[dict[int, str]] = [{} for _ in range(self.trainer.world_size)]
            torch.distributed.all_gather_object(parts, self.captions)
            self.captions = {photo: caption for part in parts for photo, caption in part.items()}
        scores = self.score([self.captions[photo] for photo in sorted(self.captions)])
        self.log_dict({f"val/{name}": value for name, value in scores.items()})

    def trained_groups(self) -> list[dict[str, Any]]:
        """A group for the decoder, and a group with ``encoder_lr`` for the trained parameters of the encoder."""
        tuned = [p for p in self.encoder.parameters() if p.requires_grad]
        own = [p for p in self.decoder.parameters() if p.requires_grad]
        return [{"params": own}, *([{"params": tuned, "lr": self.encoder_lr}] if tuned else [])]
