"""The Lightning data module: batches for training, validation and test."""

import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import pytorch_lightning as pl
import torch
from lightning_fabric.utilities.seed import pl_worker_init_function
from torch import Tensor
from torch.utils.data import DataLoader

from captioning.core.errors import CaptioningError
from captioning.core.features import Features
from captioning.core.moving import Movable
from captioning.core.signals import end_when_unheard, outlast_signals
from captioning.core.vocabulary import Vocabulary
from captioning.data.batches import BatchSampler, CaptionDataset, PhotoBatch, PhotoDataset, Places
from captioning.data.captions import TokenizedCaptions
from captioning.data.photos import CaptionedPhotos, Photo
from captioning.text.registry import Tokenizer
from captioning.text.tokenizer import tokenize_each

log = logging.getLogger(__name__)


class ResumableData(pl.LightningDataModule):
    """Training data that can continue after an interruption.

    Attributes:
        resumed: the epoch at the resumed checkpoint and the number of that epoch's batches done; (0, 0) for a new run.
    """

    resumed = (0, 0)

    def position(self) -> tuple[int, int]:
        """The epoch that begins, and the number of its batches already done.

        Lightning restores a checkpoint's progress only after worker processes have begun to fetch batches. The later
        one of Lightning's position and the checkpoint's is therefore the right one.
        """
        if self.trainer is None:
            return self.resumed
        batches = self.trainer.fit_loop.epoch_loop.batch_progress
        now = self.trainer.current_epoch, 0 if batches.is_last_batch else batches.current.ready
        return max(self.resumed, now)

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        """Copy a batch to a GPU from pinned memory, while the processor goes on."""
        if isinstance(batch, Movable):
            return batch.to(device, non_blocking=True)
        return super().transfer_batch_to_device(batch, device, dataloader_idx)


class PhotoData(ResumableData):
    """Batches of photographs, from stored features or from the images themselves."""

    def __init__(
        self,
        photos: CaptionedPhotos,
        *,
        features: Callable[[str], Callable[[Sequence[int]], Features]] | None,
        image: Callable[[Photo], Tensor],
        changed: Callable[[Photo, tuple[int, ...]], Tensor] | None = None,
        batch_size: int = 16,
        workers: int = 2,
        seed: int = 0,
    ) -> None:
        """Take the data.

        Args:
            photos: the photographs by split.
            features: a function from a split's name to the reader of the split's stored features; None if no features
                are stored.
            image: a function that reads and transforms a photograph, for an encoder that runs in training.
            changed: a function from a photograph and a seed to its randomly changed image, for the training batches;
                None for the images as they are.
            batch_size: the number of photographs in a batch of one process.
            workers: the number of processes that make batches; 0 for the calling process.
            seed: the seed of the order.
        """
        super().__init__()
        self.photos, self.features, self.image, self.changed = photos, features, image, changed
        self.batch_size, self.workers, self.seed = batch_size, workers, seed

    def train_dataloader(self) -> DataLoader[Any]:
        """The training split, shuffled; after an interruption from the first batch not yet done."""
        return self.loader("train", shuffle=True)

    def val_dataloader(self) -> DataLoader[Any]:
        """The validation split in order."""
        return self.loader("val")

    def test_dataloader(self) -> DataLoader[Any]:
        """The test split in order."""
        return self.loader("test")

    def dataset(self, split: str, shuffle: bool) -> tuple[PhotoDataset, Places]:
        """The dataset that makes a split's batches, and the indices of the photographs in these batches.

        Args:
            split: the split's name.
            shuffle: True for training.
        """
        places = range(len(self.photos[split]))
        return PhotoDataset(**self._images(split, shuffle)), places

    def _images(self, split: str, shuffle: bool) -> dict[str, Any]:
        """The arguments of ``PhotoDataset``."""
        if self.features is not None:
            return {"features": self.features(split)}
        if self.changed is not None and shuffle:
            return {"changed": partial(_change, self.photos[split], self.changed)}
        return {"image": partial(_read, self.photos[split], self.image)}

    def loader(self, split: str, shuffle: bool = False) -> DataLoader[Any]:
        """The batches of a split for this rank.

        Raises:
            CaptioningError: the split is empty, or has no photograph for some of the processes.
        """
        dataset, places = self.dataset(split, shuffle)
        ranks = self.trainer.world_size if self.trainer else 1
        if len(places) < ranks:
            raise CaptioningError(
                f"the {split} split has {len(places)} of what {ranks} processes read: at least one for each is needed. "
                "Take fewer processes (trainer.devices=1), or more data."
            )
        sampler = BatchSampler(
            places,
            self.batch_size,
            seed=self.seed,
            shuffle=shuffle,
            rank=self.trainer.global_rank if self.trainer else 0,
            ranks=ranks,
            position=self.position if shuffle else from_the_beginning,
        )
        return DataLoader(
            dataset,
            sampler=sampler,
            batch_size=None,
            num_workers=self.workers,
            worker_init_fn=_begin_worker,
            persistent_workers=self.workers > 0,
            pin_memory=self.trainer is not None and self.trainer.strategy.root_device.type == "cuda",
        )

    def describe_batch(self, batch: PhotoBatch) -> str:
        """A description of a training batch, for locating an error in the data."""
        return "photographs " + ", ".join(str(self.photos["train"][place].id) for place in batch.photos.tolist())


def _begin_worker(worker: int) -> None:
    """Prepare a worker process: its parent ends it, and Lightning seeds it (as it does where no function is given)."""
    end_when_unheard()
    outlast_signals()
    pl_worker_init_function(worker)


class CaptionData(PhotoData):
    """Batches of captioned photographs: in training some captions of each photograph, else all captions."""

    def __init__(
        self,
        photos: CaptionedPhotos,
        vocabulary: Vocabulary,
        *,
        captions_per_photo: int | None = 5,
        max_words: int = 30,
        tokenizer: Tokenizer = tokenize_each,
        max_length: int | None = None,
        **common: Any,
    ) -> None:
        """Take the data.

        Args:
            photos: the photographs by split.
            vocabulary: the vocabulary of the training split.
            captions_per_photo: the maximum number of a photograph's captions in a training batch, drawn by the seed.
            max_words: the number of words after which a caption is cut.
            tokenizer: the tokenizer of the captions, that of the vocabulary.
            max_length: the largest number of words of a caption that the search generates, for a warning.
            common: the arguments of ``PhotoData``.
        """
        super().__init__(photos, **common)
        self.vocabulary, self.captions_per_photo, self.tokenizer = vocabulary, captions_per_photo, tokenizer
        self.max_words, self.max_length = max_words, max_length

    def dataset(self, split: str, shuffle: bool) -> tuple[PhotoDataset, Places]:
        """The dataset of a split; in training without photographs that have no caption to learn from."""
        photos = self.photos[split]
        captions = TokenizedCaptions.of(photos, self.vocabulary, self.max_words, self.tokenizer)
        if shuffle:
            self._tell_cuts(captions)
        dataset = CaptionDataset(captions, self.captions_per_photo if shuffle else None, **self._images(split, shuffle))
        return dataset, captions.photos if shuffle else range(len(photos))

    def _tell_cuts(self, captions: TokenizedCaptions) -> None:
        """Say how many training captions are cut, and how many are longer than the search goes."""
        if cut := captions.longer_than(self.max_words):
            log.warning(
                "%d of %d training captions have more than %d words and are cut there (data.max_words).",
                *(cut, len(captions), self.max_words),
            )
        if self.max_length is not None and (longer := captions.longer_than(self.max_length)):
            log.warning(
                "%d of %d training captions have more than %d words, where a generated caption ends "
                "(search.max_length); they have %.0f words on average.",
                *(longer, len(captions), self.max_length, captions.words.mean()),
            )


def from_the_beginning() -> tuple[int, int]:
    """The position of validation and test data, which are always read from the beginning."""
    return 0, 0


def _read(photos: Sequence[Photo], image: Callable[[Photo], Tensor], place: int) -> Tensor:
    return image(photos[place])


def _change(
    photos: Sequence[Photo],
    changed: Callable[[Photo, tuple[int, ...]], Tensor],
    place: int,
    seed: tuple[int, ...],
) -> Tensor:
    return changed(photos[place], (*seed, place))
