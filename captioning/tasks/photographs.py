"""Photographs of a run from its data source, and their stored or live features."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from captioning.analysis.pointing import Rectangle
from captioning.core.build import build, call
from captioning.core.errors import CaptioningError
from captioning.core.features import Features
from captioning.core.images import ImageTransform, read_image
from captioning.core.vocabulary import Vocabulary
from captioning.data import CaptionedPhotos, Photo
from captioning.data.augmentation import Augmentation
from captioning.data.batches import PhotoBatch
from captioning.data.feature_store import FeatureStore
from captioning.data.module import CaptionData, PhotoData
from captioning.encoders import Encoder
from captioning.encoders.frames import ClipTransform
from captioning.encoders.several import Several, prefixed
from captioning.runs.checkpoint import Checkpoint
from captioning.runs.parts import Config, make_encoder
from captioning.runs.settings import tokenizer_of
from captioning.text.registry import find_tokenizer
from captioning.training.initial import begin_with

ENCODER = "encoder."  # before the names of the encoder's weights in a checkpoint


def read_photos(config: Config) -> CaptionedPhotos:
    """The captioned photographs that ``data.source`` reads."""
    return call(config["data"]["source"], CaptionedPhotos)


def initial_encoder(config: Config, initial: Checkpoint | None) -> Encoder:
    """The encoder of a configuration, with the weights that training begins with.

    A frozen encoder's features are stored before training, so its weights must be there before: the other run may have
    fine-tuned them.

    Args:
        config: the run's configuration.
        initial: the checkpoint that ``init_from`` names, or None.

    Raises:
        CaptioningError: the checkpoint's encoder is another one.
    """
    encoder = make_encoder(config)
    if initial:
        own = {name: tensor for name, tensor in initial.weights.items() if name.startswith(ENCODER)}
        begin_with(nn.ModuleDict({ENCODER.rstrip("."): encoder}), replace(initial, weights=own))
    return encoder


def boxes_by_word(photo: Photo) -> dict[str, list[Rectangle]]:
    """The places of a photograph's objects by the words that name them, for the pointing game."""
    found: dict[str, list[Rectangle]] = {}
    for box in photo.boxes:
        for word in box.words:
            found.setdefault(word, []).append((box.x, box.y, box.x + box.width, box.y + box.height))
    return found


def make_data(
    config: Config,
    photos: CaptionedPhotos,
    vocabulary: Vocabulary,
    encoder: Encoder,
    reads: Sequence[str],
    device: torch.device,
) -> CaptionData:
    """Batches of photographs and captions; the features of a frozen encoder are computed once and stored first.

    Args:
        config: the run's configuration.
        photos: the photographs by split.
        vocabulary: the vocabulary of the training split.
        encoder: the encoder, frozen or fine-tuned.
        reads: the feature parts that the decoder reads.
        device: the device on which missing features are computed.
    """
    data = config["data"]
    return CaptionData(
        photos,
        vocabulary,
        captions_per_photo=data["captions_per_photo"],
        max_words=data["max_words"],
        tokenizer=find_tokenizer(tokenizer_of(config)),
        max_length=config["search"].get("max_length"),
        **photo_settings(config, photos, encoder, reads, device),
    )


def make_photo_data(
    config: Config, photos: CaptionedPhotos, encoder: Encoder, reads: Sequence[str], device: torch.device
) -> PhotoData:
    """Batches of photographs alone, for a task without captions; see ``make_data``."""
    return PhotoData(photos, **photo_settings(config, photos, encoder, reads, device))


def photo_settings(
    config: Config, photos: CaptionedPhotos, encoder: Encoder, reads: Sequence[str], device: torch.device
) -> dict[str, Any]:
    """The arguments of ``captioning.data.module.PhotoData`` beside the photographs, see ``make_data``."""
    data = config["data"]
    augmentation = _augmentation(config, encoder)
    return {
        "features": None if encoder.trainable else store_features(config, photos, encoder, reads, device),
        "image": partial(_read_photo, encoder.transform),
        "changed": augmentation and partial(_change_photo, encoder.transform, augmentation),
        "batch_size": data["batch_size"],
        "workers": data["workers"],
        "seed": config["seed"],
    }


def _augmentation(config: Config, encoder: Encoder) -> Augmentation | None:
    """The changes of training photographs that a configuration asks for, if any.

    Raises:
        CaptioningError: the encoder is frozen, or reads clips.
    """
    if not config.get("augmentation"):
        return None
    if isinstance(encoder.transform, ClipTransform):
        raise CaptioningError("augmentation changes photographs, not the frames of clips. Set augmentation=none.")
    if not encoder.trainable:
        raise CaptioningError(
            "augmentation changes photographs in each epoch anew, and the features of a frozen encoder are computed "
            "once. Fine-tune the encoder (encoder.finetune_from=STAGE), or set augmentation=none."
        )
    return build(config["augmentation"], Augmentation)


def features_of(batch: PhotoBatch, encoder: Encoder) -> Features:
    """The features of a batch's photographs: stored features in single precision, or the encoder's output."""
    if batch.features is not None:
        return batch.features.to(dtype=torch.get_default_dtype())
    assert batch.images is not None
    features: Features = encoder(batch.images)
    return features


def store_features(
    config: Config,
    photos: CaptionedPhotos,
    encoder: Encoder,
    reads: Sequence[str],
    device: torch.device,
    actors: int = 0,
) -> Callable[[str], Callable[[Sequence[int]], Features]]:
    """Compute and store the features of all photographs that are not stored yet.

    Each encoder has its own store, whether it is alone or one of an ensemble's. ``actors``: see ``FeatureStore.build``.

    Returns:
        A function from a split's name to the reader of features by the photographs' indices in the split.
    """
    if isinstance(encoder, Several) and not encoder.joined.keys() & set(reads):
        of_each = {}
        for name, each in encoder.members().items():
            prefix = prefixed(name)
            if own := [part.removeprefix(prefix) for part in reads if part.startswith(prefix)]:
                of_each[prefix] = store_features(config, photos, each, own, device, actors)
        return lambda split: partial(_read_each, {prefix: read(split) for prefix, read in of_each.items()})
    store = FeatureStore.build(
        Path(config["data"]["features_root"]),
        key={"encoder": encoder.fingerprint()},
        spec=encoder.spec,
        transform=encoder.transform,
        paths=[photo.path for photo in photos],
        extractor=lambda: partial(_extract, encoder.fused().to(device), device),
        device=device,
        parts=tuple(reads),
        actors=actors,
    )
    first, firsts = 0, {}
    for split, members in photos.splits.items():
        firsts[split] = first
        first += len(members)
    return lambda split: partial(_read_rows, store, firsts[split])


def _extract(encoder: Encoder, device: torch.device, images: Tensor) -> Features:
    features: Features = encoder(images.to(device, non_blocking=True))
    return features


def _read_photo(transform: ImageTransform, photo: Photo) -> Tensor:
    return transform.read(photo.path)


def _change_photo(transform: ImageTransform, augmentation: Augmentation, photo: Photo, seed: tuple[int, ...]) -> Tensor:
    return augmentation(read_image(photo.path), photo.captions, transform, seed)


def _read_rows(store: FeatureStore, first: int, places: Sequence[int]) -> Features:
    return store[[first + place for place in places]]


def _read_each(readers: Mapping[str, Callable[[Sequence[int]], Features]], places: Sequence[int]) -> Features:
    """The features of several encoders, the parts of each with its prefix."""
    found = {prefix: read(places) for prefix, read in readers.items()}
    lengths = {f"{prefix}{part}": each for prefix, own in found.items() for part, each in own.lengths.items()}
    return Features(lengths, **{f"{prefix}{part}": each for prefix, own in found.items() for part, each in own.items()})
