"""The Lightning data module: batches for training, validation and test."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import pytorch_lightning as pl
from torch import Tensor
from torch.utils.data import DataLoader

from captioning.core.features import Features
from captioning.core.vocabulary import Vocabulary
from captioning.data.batches import BatchSampler, CaptionDataset, PhotoBatch, PhotoDataset, Places
from captioning.data.captions import TokenizedCaptions
from captioning.data.photos import CaptionedPhotos, Photo


class ResumableData(pl.LightningDataModule):
    """Training data that an interrupted run goes on with.

    Attributes:
        resumed: the epoch and the number of its batches that were done when the checkpoint was written that the run
            goes on from; (0, 0) for a run from its beginning.
    """

    resumed = (0, 0)

    def position(self) -> tuple[int, int]:
        """The epoch that begins, and how many of its batches are done already.

        Worker processes are filled before Lightning has taken up the progress of a checkpoint, whose own position is
        therefore asked, too: the later of both is right.
        """
        if self.trainer is None:
            return self.resumed
        batches = self.trainer.fit_loop.epoch_loop.batch_progress
        now = self.trainer.current_epoch, 0 if batches.is_last_batch else batches.current.ready
        return max(self.resumed, now)


class PhotoData(ResumableData):
    """Batches of photographs, from stored features or from the pictures themselves."""

    def __init__(
        self,
        photos: CaptionedPhotos,
        *,
        features: Callable[[str], Callable[[Sequence[int]], Features]] | None,
        image: Callable[[Photo], Tensor],
        batch_size: int = 16,
        workers: int = 2,
        seed: int = 0,
    ) -> None:
        """Take the data.

        Args:
            photos: by split.
            features: a split's name to what reads the stored features of its photographs; None: none are stored.
            image: reads and transforms a photograph, for an encoder that runs in training.
            batch_size: photographs in a batch, of one process.
            workers: processes that make batches; 0: none.
            seed: of the order.
        """
        super().__init__()
        self.photos, self.features, self.image = photos, features, image
        self.batch_size, self.workers, self.seed = batch_size, workers, seed

    def train_dataloader(self) -> DataLoader[Any]:
        """Shuffled; after an interruption from the first batch that is still to do."""
        return self.loader("train", shuffle=True)

    def val_dataloader(self) -> DataLoader[Any]:
        """The validation split in order."""
        return self.loader("val")

    def test_dataloader(self) -> DataLoader[Any]:
        """The test split in order."""
        return self.loader("test")

    def dataset(self, split: str, shuffle: bool) -> tuple[PhotoDataset, Places]:
        """What makes the batches of a split, and the places of the photographs that they are made of.

        Args:
            split: its name.
            shuffle: whether it is for training.
        """
        return PhotoDataset(**self._images(split)), range(len(self.photos[split]))

    def _images(self, split: str) -> dict[str, Any]:
        """The arguments of ``PhotoDataset``."""
        if self.features is not None:
            return {"features": self.features(split)}
        return {"image": partial(_read, self.photos[split], self.image)}

    def loader(self, split: str, shuffle: bool = False) -> DataLoader[Any]:
        """The batches of a split for this rank.

        Raises:
            CaptioningError: the split is empty.
        """
        dataset, places = self.dataset(split, shuffle)
        sampler = BatchSampler(
            places,
            self.batch_size,
            seed=self.seed,
            shuffle=shuffle,
            rank=self.trainer.global_rank if self.trainer else 0,
            ranks=self.trainer.world_size if self.trainer else 1,
            position=self.position if shuffle else from_the_beginning,
        )
        return DataLoader(
            dataset,
            sampler=sampler,
            batch_size=None,
            num_workers=self.workers,
            persistent_workers=self.workers > 0,
        )

    def describe_batch(self, batch: PhotoBatch) -> str:
        """A training batch in words, for whoever has to find what is wrong with it."""
        return "photographs " + ", ".join(str(self.photos["train"][place].id) for place in batch.photos.tolist())


class CaptionData(PhotoData):
    """Batches of captioned photographs: in training some captions of each, else all of them."""

    def __init__(
        self,
        photos: CaptionedPhotos,
        vocabulary: Vocabulary,
        *,
        captions_per_photo: int | None = 5,
        max_words: int = 30,
        **common: Any,
    ) -> None:
        """Take the data.

        Args:
            photos: by split.
            vocabulary: of the training split.
            captions_per_photo: how many captions of a photograph a training batch holds at the most, drawn by the seed.
            max_words: longer captions are cut.
            common: see ``PhotoData``.
        """
        super().__init__(photos, **common)
        self.vocabulary, self.captions_per_photo, self.max_words = vocabulary, captions_per_photo, max_words

    def dataset(self, split: str, shuffle: bool) -> tuple[PhotoDataset, Places]:
        """In training without photographs that have no caption to learn from."""
        photos = self.photos[split]
        captions = TokenizedCaptions.of(photos, self.vocabulary, self.max_words)
        dataset = CaptionDataset(captions, self.captions_per_photo if shuffle else None, **self._images(split))
        return dataset, captions.photos if shuffle else range(len(photos))


def from_the_beginning() -> tuple[int, int]:
    """The position of what is read in order, as a whole: validation and test."""
    return 0, 0


def _read(photos: Sequence[Photo], image: Callable[[Photo], Tensor], place: int) -> Tensor:
    return image(photos[place])
