"""A task: how many objects are there in a scene?

captioning train task._target_=counting.Counting data=scenes monitor=accuracy
"""

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from captioning.core.measure import Measure
from captioning.core.sums import Sum
from captioning.tasks import Prepared, Task
from captioning.tasks.photographs import features_of, initial_encoder, make_photo_data, read_photos
from captioning.training.module import TrainingModule
from captioning.training.settings import training_settings


class Counter(TrainingModule):
    """A linear classifier of the pooled features."""

    def __init__(self, encoder, counts: dict[str, Tensor], **common) -> None:
        super().__init__(**common)
        self.encoder, self.counts = encoder, counts
        self.classifier = nn.Linear(encoder.spec.size("pooled"), 1 + max(int(each.max()) for each in counts.values()))

    def losses(self, batch) -> dict[str, Sum]:
        logits, counts = self.read(batch, "train")
        return {"loss": Sum(F.cross_entropy(logits, counts, reduction="sum"), len(counts))}

    def measured(self, batch, split: str) -> dict[str, Sum]:
        logits, counts = self.read(batch, split)
        return {"accuracy": Sum((logits.argmax(-1) == counts).float().sum(), len(counts))}

    def read(self, batch, split: str) -> tuple[Tensor, Tensor]:
        counts = self.counts[split].to(self.device)[batch.photos]
        return self.classifier(features_of(batch, self.encoder)["pooled"]), counts


class Counting(Task):
    """The number of boxes that a photograph has."""

    measures: ClassVar = {"accuracy": Measure("accuracy", higher_is_better=True, scale=100)}

    def read_source(self):
        return read_photos(self.config)

    def prepare(self, source, folder, device, initial=None) -> Prepared:
        encoder = initial_encoder(self.config, initial)
        counts = {split: torch.tensor([len(each.boxes) for each in photos]) for split, photos in source.splits.items()}
        module = Counter(encoder, counts, **training_settings(self.config))
        data = make_photo_data(self.config, source, encoder, ("pooled",), device)
        return Prepared(module, data, {}, f"{len(source['train'])} scenes")
