"""``captioning evaluate``: score a trained captioner on a split, and write its captions for the evaluation server."""

import argparse
import logging
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from captioning.core.memory import keep_memory
from captioning.core.ownership import write_json_output
from captioning.core.terminal import show_log
from captioning.jobs.config import evaluated
from captioning.jobs.options import add_search_options, add_trust_option, search_of, trusted

if TYPE_CHECKING:
    from captioning.analysis.pointing import Score
    from captioning.core.images import ImageTransform
    from captioning.data import CaptionedPhotos
    from captioning.data.photos import Photo
    from captioning.predict.captioner import Caption, Captioner
    from captioning.runs.parts import Config
    from captioning.search import Search

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Evaluation:
    """What an evaluation finds.

    Attributes:
        scores: by name, ×1.
        pointing: of the pointing game; None where the decoder has no attention, the boxes of the objects are unknown,
            or no caption names one of them.
    """

    scores: dict[str, float]
    pointing: "Score | None"


def parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="captioning evaluate",
        description="Caption a split with a trained captioner, score the captions, and write them in COCO's results "
        "format.",
    )
    parser.add_argument("checkpoint", type=Path, help="a run's folder, or a .ckpt file")
    parser.add_argument(
        "overrides",
        nargs="*",
        metavar="SETTING=VALUE",
        help="e.g. data.root=../flickr8k: where the data are, unless it is the default place, is yours to say",
    )
    parser.add_argument("--split", default="test", help="train, val or test (default: test)")
    parser.add_argument("--out", type=Path, help="folder for what it writes (default: the run's folder)")
    parser.add_argument("--device", default="auto", help="cpu, cuda, … (default: the GPU where there is one)")
    add_trust_option(parser)
    add_search_options(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    options = parser().parse_intermixed_args(argv)
    show_log()
    keep_memory()
    found = evaluate(
        options.checkpoint,
        options.split,
        options.overrides,
        partial(search_of, options),
        options.out,
        options.device,
        trust=trusted(options.trust, options.overrides),
    )
    print("  ".join(f"{name:>7}" for name in found.scores))
    print("  ".join(f"{100 * value:7.2f}" for value in found.scores.values()))
    if found.pointing:
        print(found.pointing)
    return 0


def evaluate(
    checkpoint: Path,
    split: str = "test",
    overrides: Sequence[str] = (),
    search: "Callable[[Config], Search] | None" = None,
    out: Path | None = None,
    device: str = "auto",
    config: "Config | None" = None,
    photos: "CaptionedPhotos | None" = None,
    trust: Sequence[str] = (),
) -> Evaluation:
    """Score a trained captioner on a split.

    Writes ``captions_SPLIT.json`` (COCO's results format), ``references_SPLIT.json`` (COCO's annotations format, for
    ``captioning score``), ``scores_SPLIT.json`` and ``captions_SPLIT.png``, a contact sheet. What else is there under
    such a name is moved aside.

    Args:
        checkpoint: a run's folder, or a file.
        split: ``train``, ``val`` or ``test``.
        overrides: where the data are, and other changes of the checkpoint's configuration, such as ``data.root=…``.
        search: makes the search from the configuration; the checkpoint's own where not given.
        out: the folder to write to; the run's own where not given.
        device: where to run.
        config: the user's own, in place of the checkpoint's and ``overrides``.
        photos: the data, where they have been read already.
        trust: modules or classes outside of this package that the checkpoint may name.

    Raises:
        CaptioningError: the checkpoint, the data or the split is missing or does not fit.
    """
    import torch

    from captioning.predict.captioner import Captioner
    from captioning.runs import parts
    from captioning.runs.checkpoint import find_checkpoint
    from captioning.runs.trust import targets_of
    from captioning.tasks import assembly
    from captioning.tasks.captioning.scoring import Scorer

    captioner = Captioner.load(checkpoint, device, trust if config is None else targets_of(config))
    config = config or evaluated(captioner.config, overrides, checkpoint)
    photos = photos or assembly.read_photos(config)
    members = photos[split]
    torch.manual_seed(config["seed"])  # of a search that draws and has no seed of its own
    captions = list(caption_split(captioner, config, photos, split, (search or parts.make_search)(config)))
    scores = dict(Scorer([photo.captions for photo in members])([caption.text for caption in captions]))
    found = Evaluation(scores, play_pointing(members, captions, captioner.encoder.transform))
    if out is None:
        file = find_checkpoint(checkpoint)
        out = file.parents[1] if file.parent.name == "checkpoints" else file.parent
    write(out, split, members, [caption.text for caption in captions], found)
    return found


def caption_split(
    captioner: "Captioner", config: "Config", photos: "CaptionedPhotos", split: str, search: "Search"
) -> "Iterator[Caption]":
    """A caption of each photograph of a split, with its attention where there are boxes to compare it with."""
    import torch

    from captioning.core.progress import progress
    from captioning.tasks.assembly import make_data

    attention = any(photo.boxes for photo in photos[split])
    data = make_data(config, photos, captioner.vocabulary, captioner.encoder, captioner.decoder.reads, captioner.device)
    for batch in progress(data.loader(split), f"captioning {split}", unit="batch"):
        features = batch.features
        if features is None:
            with torch.no_grad():
                features = captioner.encoder(batch.images.to(captioner.device))
        yield from captioner.describe(features, search, attention)


def play_pointing(
    photos: "Sequence[Photo]", captions: "Sequence[Caption]", transform: "ImageTransform"
) -> "Score | None":
    """The score of the pointing game, see ``captioning.analysis.pointing``."""
    from captioning.analysis.pointing import Named, find_named, score
    from captioning.core.images import read_image

    named: list[Named] = []
    for photo, caption in zip(photos, captions, strict=True):
        if photo.boxes and caption.attention is not None:
            objects = defaultdict(list)
            for box in photo.boxes:
                for word in box.words:
                    objects[word].append((box.x, box.y, box.x + box.width, box.y + box.height))
            seen = transform.seen(read_image(photo.path).size)
            named += find_named(caption.text.split(), caption.attention, objects, seen)
    return score(named)


def write(folder: Path, split: str, photos: "Sequence[Photo]", captions: Sequence[str], found: Evaluation) -> None:
    """Write what ``evaluate`` says that it writes."""
    from captioning.data.coco import annotations_of
    from captioning.report.pictures import draw_contact_sheet

    ids = [photo.id for photo in photos]
    results = [{"image_id": id, "caption": caption} for id, caption in zip(ids, captions, strict=True)]
    table: dict[str, object] = {"split": split, "images": len(ids), "scores": found.scores}
    if found.pointing:
        table["pointing"] = {**asdict(found.pointing), "share": found.pointing.share}
    write_json_output(folder / f"captions_{split}.json", results)
    write_json_output(folder / f"references_{split}.json", annotations_of(photos))
    write_json_output(folder / f"scores_{split}.json", table)
    step = max(1, len(photos) // 16)
    chosen = list(zip((photo.path for photo in photos), captions, strict=True))[::step][:16]
    draw_contact_sheet(chosen, folder / f"captions_{split}.png")
    log.info("wrote %s", ", ".join(str(folder / f"{name}_{split}.{suffix}") for name, suffix in WRITTEN))


WRITTEN = (("captions", "json"), ("references", "json"), ("scores", "json"), ("captions", "png"))
