"""The Lightning module of labelling: an encoder of frames, a network, and the training and validation steps.

Dimensions: B clips, T frames, P numbers of a frame, H hidden, K labels.
"""

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from captioning.cells import Cell
from captioning.cells.sequences import Reader
from captioning.core.errors import CaptioningError
from captioning.core.features import Features, FeatureSpec
from captioning.core.sums import Sum
from captioning.data.label_batches import UNKNOWN, LabelBatch
from captioning.encoders import Encoder
from captioning.tasks.photographs import features_of
from captioning.training.module import TrainingModule

Network = Literal["recurrent", "frame"]
NETWORKS: tuple[Network, ...] = ("recurrent", "frame")


class FrameLabeller(nn.Module):
    """A label for each frame: ``softmax(W s_t + b)`` of a state s_t, the lecture's many to many in step."""

    def __init__(
        self,
        features: FeatureSpec,
        labels: int,
        cell: Callable[..., Cell],
        *,
        network: Network = "recurrent",
        hidden_size: int = 160,
        bidirectional: bool = False,
        dropout: float = 0.2,
    ) -> None:
        """Make the layers.

        Args:
            features: the shapes of the encoder's features, with the part ``frames``.
            labels: K.
            cell: a function that makes one recurrent layer.
            network: ``recurrent``: s_t is the state of recurrent layers; ``frame``: a layer of rectified units of
                frame t alone.
            hidden_size: H, and the width of the embedded frames.
            bidirectional: whether recurrent layers also read the frames from the last to the first.
            dropout: the fraction of the embedded frames' numbers that training drops.

        Raises:
            CaptioningError: there is no such network, or the encoder has no frames.
        """
        super().__init__()
        if network not in NETWORKS:
            raise CaptioningError(f"task.network={network}: take one of {', '.join(NETWORKS)}.")
        self.embedding = nn.Sequential(nn.Linear(features.size("frames"), hidden_size), nn.Dropout(dropout))
        self.reader: Reader | None = None
        if network == "recurrent":
            self.reader = Reader(cell, hidden_size, hidden_size, bidirectional=bidirectional)
        else:
            self.alone = nn.Sequential(nn.ReLU(), nn.Linear(hidden_size, hidden_size), nn.ReLU())
        size = hidden_size if self.reader is None else self.reader.output_size
        self.classifier = nn.Linear(size, labels)

    def forward(self, features: Features) -> Tensor:
        """The logits ``(B, T, K)`` of each frame's label; those behind a clip's end mean nothing."""
        x = self.embedding(features["frames"])
        states = self.alone(x) if self.reader is None else self.reader(x, features.lengths.get("frames"))
        logits: Tensor = self.classifier(states)
        return logits


class LabellingModule(TrainingModule):
    """The training of a labeller by cross-entropy."""

    def __init__(
        self, encoder: Encoder, labeller: FrameLabeller, rest: int, *, encoder_lr: float = 1e-5, **common: Any
    ) -> None:
        """Take the parts.

        Args:
            encoder: the encoder of frames.
            labeller: the network.
            rest: the number of the label of a frame in which nothing happens; -1 if there is none.
            encoder_lr: the learning rate of a fine-tuned encoder.
            common: the arguments of ``TrainingModule``.
        """
        super().__init__(**common)
        self.encoder, self.labeller, self.rest, self.encoder_lr = encoder, labeller, rest, encoder_lr

    def losses(self, batch: LabelBatch) -> dict[str, Sum]:
        """The cross-entropy of a batch's labels."""
        return {"loss": self._loss(self.labeller(features_of(batch, self.encoder)), batch.labels)}

    def measured(self, batch: LabelBatch, split: str) -> dict[str, Sum]:
        """The loss, the accuracy, and the accuracy in frames in which something happens."""
        logits = self.labeller(features_of(batch, self.encoder))
        there = batch.labels != UNKNOWN
        right = (logits.argmax(-1) == batch.labels) & there
        happens = there & (batch.labels != self.rest)
        return {
            "loss": self._loss(logits, batch.labels),
            "accuracy": Sum(right.sum().float(), int(there.sum())),
            "happening": Sum((right & happens).sum().float(), int(happens.sum())),
        }

    def trained_groups(self) -> list[dict[str, Any]]:
        """A group for the labeller, and one with ``encoder_lr`` for the trained parameters of the encoder."""
        tuned = [p for p in self.encoder.parameters() if p.requires_grad]
        own = list(self.labeller.parameters())
        return [{"params": own}, *([{"params": tuned, "lr": self.encoder_lr}] if tuned else [])]

    def _loss(self, logits: Tensor, labels: Tensor) -> Sum:
        total = F.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=UNKNOWN, reduction="sum")
        return Sum(total, int(torch.count_nonzero(labels != UNKNOWN)))
