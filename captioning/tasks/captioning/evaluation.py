"""Captions of a split from a trained captioner, and the files of the evaluation."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

import torch

from captioning.analysis.pointing import Named, Score, find_named, score
from captioning.core.images import ImageTransform, read_image
from captioning.core.ownership import write_json_output
from captioning.core.progress import progress
from captioning.core.terminal import nearby
from captioning.data import CaptionedPhotos
from captioning.data.coco import annotations_of
from captioning.data.photos import Photo
from captioning.predict.captioner import Caption, Captioner
from captioning.report.pictures import draw_contact_sheet
from captioning.runs.parts import Config
from captioning.search import Search
from captioning.tasks.photographs import boxes_by_word, features_of, make_data

log = logging.getLogger(__name__)

WRITTEN = (("captions", "json"), ("references", "json"), ("captions", "png"))


def caption_split(
    captioner: Captioner, config: Config, photos: CaptionedPhotos, split: str, search: Search
) -> Iterator[Caption]:
    """A caption for each photograph of a split, with attention maps if the photographs have boxes."""
    attention = any(photo.boxes for photo in photos[split])
    data = make_data(config, photos, captioner.vocabulary, captioner.encoder, captioner.decoder.reads, captioner.device)
    for batch in progress(data.loader(split), f"captioning {split}", unit="batches"):
        with torch.no_grad():
            features = features_of(batch.to(captioner.device), captioner.encoder)
        yield from captioner.caption_features(features, search, attention)


def play_pointing(photos: Sequence[Photo], captions: Sequence[Caption], transform: ImageTransform) -> Score | None:
    """The score in the pointing game, see ``captioning.analysis.pointing``.

    Returns:
        The score; None if the decoder has no attention, the objects' boxes are unknown, or no caption names an object.
    """
    named: list[Named] = []
    for photo, caption in zip(photos, captions, strict=True):
        if photo.boxes and caption.attention is not None:
            seen = transform.seen(read_image(photo.path).size)
            named += find_named(caption.text.split(), caption.attention, boxes_by_word(photo), seen)
    return score(named)


def write_captions(folder: Path, split: str, photos: Sequence[Photo], captions: Sequence[str]) -> None:
    """Write captions in COCO's results format, references in COCO's annotations format, and a contact sheet."""
    ids = [photo.id for photo in photos]
    results = [{"image_id": id, "caption": caption} for id, caption in zip(ids, captions, strict=True)]
    write_json_output(folder / f"captions_{split}.json", results)
    write_json_output(folder / f"references_{split}.json", annotations_of(photos))
    step = max(1, len(photos) // 16)
    chosen = list(zip((photo.path for photo in photos), captions, strict=True))[::step][:16]
    draw_contact_sheet(chosen, folder / f"captions_{split}.png")
    log.info("wrote %s", ", ".join(str(nearby(folder / f"{name}_{split}.{suffix}")) for name, suffix in WRITTEN))


def details_of(search: Search, pointing: Score | None, photographs: int) -> dict[str, object]:
    """The details of an evaluation in the file of scores."""
    details: dict[str, object] = {"images": photographs, "search": str(search)}
    if pointing:
        details["pointing"] = {**asdict(pointing), "share": pointing.share}
    return details
