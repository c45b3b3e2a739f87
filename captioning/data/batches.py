"""Batches made from photographs and captions.

The seed and the step alone determine the photographs and captions of a batch. The number of workers, the rank and an
interruption of the run do not change them.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from captioning.core.features import Features
from captioning.core.images import stack
from captioning.core.moving import Movable
from captioning.core.packing import Packing
from captioning.data.captions import TokenizedCaptions

Places: TypeAlias = "Sequence[int] | np.ndarray[tuple[int], np.dtype[np.int64]]"


@dataclass(frozen=True)
class PhotoBatch(Movable):
    """B photographs.

    Attributes:
        photos: ``(B,)`` the photographs' indices in the split.
        features: the stored features, or None where the encoder runs in training.
        images: uint8 ``(B, 3, height, width)``, or None where the features are stored.
    """

    photos: Tensor
    features: Features | None
    images: Tensor | None


@dataclass(frozen=True)
class Batch(PhotoBatch):
    """B photographs and, for each, up to S captions.

    Attributes:
        words: ``(M,)`` the input words, START first, in packed order.
        targets: ``(M,)`` the target words, END last.
        packing: the position of each word.
    """

    words: Tensor
    targets: Tensor
    packing: Packing


@dataclass(frozen=True)
class Draw:
    """The photographs of a batch and the seed that, with a photograph's index, selects its captions."""

    photos: Sequence[int]
    seed: tuple[int, ...]


class BatchSampler(Sampler[Draw]):
    """The batches of an epoch, for one rank.

    Each rank's batch of ``batch_size`` photographs is a part of the global batch. All ranks together therefore read
    what one process would read with ``ranks`` times the batch size.
    """

    def __init__(
        self,
        photos: Places,
        batch_size: int,
        *,
        seed: int = 0,
        shuffle: bool = False,
        rank: int = 0,
        ranks: int = 1,
        position: Callable[[], tuple[int, int]] = lambda: (0, 0),
    ) -> None:
        """Take the sizes.

        Args:
            photos: the indices of the photographs in their split.
            batch_size: the number of photographs in a batch of one rank.
            seed: the shuffle's seed.
            shuffle: True for a new order every epoch; the last global batch is dropped if it would leave a rank without
                photographs.
            rank: the rank of this process.
            ranks: the number of processes.
            position: a function, called at the beginning of an epoch, that returns the epoch's number and the number of
                its batches done before the run was interrupted.
        """
        self.photos, self.batch_size = photos, batch_size
        self.seed, self.shuffle = seed, shuffle
        self.rank, self.ranks = rank, ranks
        self.position = position

    def __len__(self) -> int:
        """The number of this rank's batches in a whole epoch: equal on every rank in training, none of them empty."""
        full, rest = divmod(len(self.photos), self.batch_size * self.ranks)
        return full + (rest >= (self.ranks if self.shuffle else self.rank + 1))

    def __iter__(self) -> Iterator[Draw]:
        """The batches of this rank, from the first one not yet done."""
        epoch, done = self.position()
        order = np.array(self.photos)
        if self.shuffle:
            np.random.default_rng([self.seed, epoch]).shuffle(order)
        step = self.batch_size * self.ranks
        for number in range(done, len(self)):
            photos = order[number * step : (number + 1) * step][self.rank :: self.ranks]
            yield Draw(photos.tolist(), (self.seed, epoch))


class PhotoDataset(Dataset[PhotoBatch]):
    """A dataset that makes a whole batch at once, for a loader with ``BatchSampler`` and ``batch_size=None``."""

    def __init__(
        self,
        *,
        features: Callable[[Sequence[int]], Features] | None = None,
        image: Callable[[int], Tensor] | None = None,
        changed: Callable[[int, tuple[int, ...]], Tensor] | None = None,
    ) -> None:
        """Take the sources of features and images.

        Args:
            features: a function from the indices of B photographs to their features.
            image: a function from a photograph's index to its image, uint8 ``(3, height, width)``; used where features
                are not stored.
            changed: a function from a photograph's index and the draw's seed to its randomly changed image, in place of
                ``image``.
        """
        self.features, self.image, self.changed = features, image, changed

    def __getitem__(self, draw: Draw) -> PhotoBatch:
        """The batch."""
        return PhotoBatch(
            photos=torch.tensor(draw.photos),
            features=None if self.features is None else self.features(draw.photos),
            images=self._images(draw),
        )

    def _images(self, draw: Draw) -> Tensor | None:
        if self.changed is not None:
            return stack([self.changed(photo, draw.seed) for photo in draw.photos])
        return None if self.image is None else stack([self.image(photo) for photo in draw.photos])


class CaptionDataset(PhotoDataset):
    """Photographs with their captions."""

    def __init__(self, captions: TokenizedCaptions, captions_per_photo: int | None, **images: Any) -> None:
        """Take the captions and the sources of features and images.

        Args:
            captions: the captions of the split's photographs.
            captions_per_photo: S, the maximum per photograph, drawn anew each time when a photograph has more; None for
                all.
            images: the sources of features and images, see ``PhotoDataset``.
        """
        super().__init__(**images)
        self.captions, self.captions_per_photo = captions, captions_per_photo

    def __getitem__(self, draw: Draw) -> Batch:
        """The batch."""
        tokens = self.captions.padded([self._choose(photo, draw.seed) for photo in draw.photos])  # (B, S, T + 1)
        packing = Packing.of(tokens[..., 1:])
        return Batch(
            **vars(super().__getitem__(draw)),
            words=packing.pack(tokens[..., :-1]),
            targets=packing.pack(tokens[..., 1:]),
            packing=packing,
        )

    def _choose(self, photo: int, seed: tuple[int, ...]) -> Sequence[int]:
        """The captions of a photograph: the same ones in any batch and on any rank."""
        there = self.captions.of_photo(photo)
        if self.captions_per_photo is None or len(there) <= self.captions_per_photo:
            return there
        rng = np.random.default_rng([*seed, photo])
        chosen: list[int] = rng.choice(np.asarray(there), self.captions_per_photo, replace=False).tolist()
        return chosen
