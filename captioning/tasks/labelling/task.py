"""The task of labelling."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from captioning.cells import Cell
from captioning.core.build import maker, without_foreign
from captioning.core.errors import CaptioningError
from captioning.core.measure import Measure
from captioning.data import CaptionedPhotos
from captioning.data.label_batches import LabelData, labels_in
from captioning.encoders.frames import Frames
from captioning.runs.checkpoint import Checkpoint
from captioning.speed import make_convolutions_fast, make_fast
from captioning.tasks.inputs import inputs_of_photographs
from captioning.tasks.labelling.module import FrameLabeller, LabellingModule, Network
from captioning.tasks.photographs import initial_encoder, photo_settings, read_photos
from captioning.tasks.task import Prepared, Task, with_hint
from captioning.training.settings import training_settings

LABELS = "labels"  # of the contents of a checkpoint
REST = "rest"  # the label of a frame in which nothing happens


class LabellingTask(Task):
    """Labelling: from a clip to a label for each frame, in step."""

    def __init__(
        self,
        config: Mapping[str, Any],
        network: Network = "recurrent",
        hidden_size: int = 160,
        bidirectional: bool = False,
        dropout: float = 0.2,
    ) -> None:
        """Take the configuration of a run, and the settings of ``FrameLabeller``."""
        super().__init__(config)
        self.settings = {
            "network": network,
            "hidden_size": hidden_size,
            "bidirectional": bidirectional,
            "dropout": dropout,
        }

    @property
    def measures(self) -> Mapping[str, Measure]:
        """The accuracies and the cross-entropy of a label."""
        return {
            "loss": Measure("loss", higher_is_better=False),
            "accuracy": Measure("accuracy", higher_is_better=True, scale=100.0),
            "happening": Measure("happening", higher_is_better=True, scale=100.0),
        }

    def read_source(self) -> CaptionedPhotos:
        """Clips with labels."""
        try:
            return read_photos(self.config)
        except CaptioningError as error:
            raise with_hint(error, "task=labelling labels the frames of clips: choose data=moving_scenes") from error

    def inputs(self, source: CaptionedPhotos) -> dict[str, str]:
        """Digests of clips and splits."""
        return inputs_of_photographs(self.config, source)

    def prepare(
        self, source: CaptionedPhotos, folder: Path, device: torch.device, initial: Checkpoint | None = None
    ) -> Prepared:
        """An untrained labeller and its data; the features of a frozen encoder are stored here."""
        config = self.config
        labels = labels_in(source)
        if initial is not None:
            labels = _labels_of(initial)
        encoder = initial_encoder(config, initial)
        if not isinstance(encoder, Frames):
            raise CaptioningError("task=labelling labels the frames of clips: take encoder=frames or encoder=flow.")
        if encoder.transform.shuffle:
            raise CaptioningError("task=labelling reads the frames in their order: leave encoder.shuffle out.")
        cell = maker(without_foreign(config["cell"]), Cell)
        labeller = make_fast(FrameLabeller(encoder.spec, len(labels), cell, **self.settings))  # type: ignore[arg-type]
        encoder.keep(["frames"])
        if encoder.trainable:
            make_convolutions_fast(encoder)
        common = photo_settings(config, source, encoder, ["frames"], device)
        module = LabellingModule(
            encoder,
            labeller,
            labels.index(REST) if REST in labels else -1,
            encoder_lr=config["encoder_lr"],
            **training_settings(config),
        )
        data = LabelData(source, labels, encoder.transform.choice, **common)
        return Prepared(module, data, {LABELS: labels}, f"{len(source['train'])} clips, {len(labels)} labels")


def _labels_of(checkpoint: Checkpoint) -> list[str]:
    """The labels that a checkpoint gives.

    Raises:
        CaptioningError: the checkpoint is of another task.
    """
    found = checkpoint.contents.get(LABELS)
    if not isinstance(found, list) or not found or not all(isinstance(each, str) for each in found):
        raise CaptioningError(f"{checkpoint.path}: this labels no frames. Name a run of task=labelling.")
    return found
