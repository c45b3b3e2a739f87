"""Batches of clips with a label for each frame.

Dimensions: B clips, T frames.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from captioning.core.errors import CaptioningError
from captioning.data.batches import Draw, PhotoBatch, PhotoDataset, Places
from captioning.data.module import PhotoData
from captioning.data.photos import CaptionedPhotos, Photo

UNKNOWN = -1  # of a frame whose label training does not have, and of a place behind a clip's end


@dataclass(frozen=True)
class LabelBatch(PhotoBatch):
    """B clips and the labels of their frames.

    Attributes:
        labels: ``(B, T)`` the labels' numbers; ``UNKNOWN`` for a label that is not known and behind a clip's end.
    """

    labels: Tensor


class LabelDataset(PhotoDataset):
    """Clips with the labels of the frames that are read."""

    def __init__(self, labels: Sequence[Tensor], **images: Any) -> None:
        """Take the labels' numbers ``(T,)`` of each clip, and the sources of features and images."""
        super().__init__(**images)
        self.labels = labels

    def __getitem__(self, draw: Draw) -> LabelBatch:
        """The batch."""
        labels = pad_sequence([self.labels[place] for place in draw.photos], batch_first=True, padding_value=UNKNOWN)
        return LabelBatch(**vars(super().__getitem__(draw)), labels=labels)


class LabelData(PhotoData):
    """Batches of clips, from stored features or from the clips themselves, with a label for each frame that is read."""

    def __init__(
        self, photos: CaptionedPhotos, words: Sequence[str], choose: Callable[[int], Sequence[int]], **common: Any
    ) -> None:
        """Take the data.

        Args:
            photos: the clips by split, with labels.
            words: the labels; a label's number is its place.
            choose: a function from the number of a clip's frames to the numbers of those that are read.
            common: the arguments of ``PhotoData``.
        """
        super().__init__(photos, **common)
        self.numbers = {word: number for number, word in enumerate(words)}
        self.choose = choose

    def dataset(self, split: str, shuffle: bool) -> tuple[PhotoDataset, Places]:
        """The dataset of a split, see ``PhotoData.dataset``."""
        clips = self.photos[split]
        return LabelDataset([self._labels(clip) for clip in clips], **self._images(split, shuffle)), range(len(clips))

    def _labels(self, clip: Photo) -> Tensor:
        chosen = (clip.labels[frame] for frame in self.choose(len(clip.labels)))
        return torch.tensor([self.numbers.get(label, UNKNOWN) for label in chosen])


def labels_in(photos: CaptionedPhotos) -> list[str]:
    """The labels of the training clips, sorted.

    Raises:
        CaptioningError: a clip has no labels.
    """
    for clip in photos:
        if not clip.labels:
            raise CaptioningError(
                f"{clip.path}: its frames have no labels, and task=labelling learns them. Choose data=moving_scenes or "
                "a reader of your own that gives Photo.labels."
            )
    return sorted({label for clip in photos["train"] for label in clip.labels})
