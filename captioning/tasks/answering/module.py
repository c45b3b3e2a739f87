"""The Lightning module of answering: an encoder, a model of answers, and the training and validation steps."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch.nn import functional as F

from captioning.answerers import AnswerModel, Answers
from captioning.core.sums import Sum
from captioning.data.question_batches import QuestionBatch
from captioning.encoders import Encoder
from captioning.tasks.photographs import features_of
from captioning.training.module import TrainingModule


class AnsweringModule(TrainingModule):
    """The training of a model of answers by cross-entropy, validated by its answers to whole splits."""

    def __init__(
        self,
        encoder: Encoder | None,
        answerer: AnswerModel,
        *,
        score: Callable[[Sequence[int]], Mapping[str, float]],
        encoder_lr: float = 1e-5,
        **common: Any,
    ) -> None:
        """Take the parts.

        Args:
            encoder: the model from photographs to features; None for a model of questions alone.
            answerer: the model of answers.
            score: a function from the numbers of the answers to the validation split, in its order, to scores by name.
            encoder_lr: the learning rate of a fine-tuned encoder.
            common: the arguments of ``TrainingModule``.
        """
        super().__init__(**common)
        if encoder is not None:
            self.encoder = encoder
        self.answerer, self.encoder_lr, self.score = answerer, encoder_lr, score
        self.given: dict[int, int] = {}

    def answer(self, batch: QuestionBatch) -> Answers:
        """The answers to a batch's questions."""
        encoder = self.encoder if hasattr(self, "encoder") else None
        assert encoder is not None or batch.features is not None
        features = batch.features if encoder is None else features_of(batch, encoder)
        assert features is not None
        answers: Answers = self.answerer(features.select(batch.of), batch.questions)
        return answers

    def losses(self, batch: QuestionBatch) -> dict[str, Sum]:
        """The cross-entropy of a batch's answers."""
        return {"loss": self._loss(self.answer(batch), batch)}

    def on_validation_epoch_start(self) -> None:
        """Clear the answers of the previous validation."""
        self.given = {}

    def validation_step(self, batch: QuestionBatch, batch_idx: int) -> None:
        """Answer, and log the cross-entropy of the answers that the set of answers has."""
        found = self.answer(batch)
        self.log_means({"loss": self._loss(found, batch)})
        self.given |= dict(zip(batch.places.tolist(), found.logits.argmax(-1).tolist(), strict=True))

    def on_validation_epoch_end(self) -> None:
        """Score the answers to the whole split at once, gathered over all ranks."""
        if self.trainer.sanity_checking:
            return
        if self.trainer.world_size > 1:
            parts: list[dict[int, int]] = [{} for _ in range(self.trainer.world_size)]
            torch.distributed.all_gather_object(parts, self.given)
            self.given = {place: answer for part in parts for place, answer in part.items()}
        scores = self.score([self.given[place] for place in sorted(self.given)])
        self.log_dict({f"val/{name}": value for name, value in scores.items()})

    def trained_groups(self) -> list[dict[str, Any]]:
        """A group for the model of answers, and one with ``encoder_lr`` for the trained parameters of the encoder."""
        tuned = [p for p in self.encoder.parameters() if p.requires_grad] if hasattr(self, "encoder") else []
        own = [p for p in self.answerer.parameters() if p.requires_grad]
        return [{"params": own}, *([{"params": tuned, "lr": self.encoder_lr}] if tuned else [])]

    def _loss(self, found: Answers, batch: QuestionBatch) -> Sum:
        total = F.cross_entropy(found.logits, batch.answers, ignore_index=-1, reduction="sum")
        return Sum(total, int((batch.answers >= 0).sum()))
