"""``captioning evaluate``: score a trained captioner on a split, and write its captions for the evaluation server."""

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from captioning.core.files import write_json
from captioning.jobs.config import change
from captioning.jobs.options import add_search_options, search_of

if TYPE_CHECKING:
    from captioning.data import CaptionedPhotos
    from captioning.search import Search

log = logging.getLogger(__name__)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="captioning evaluate",
        description="Caption a split with a trained captioner, score the captions, and write them in COCO's results "
        "format.",
    )
    parser.add_argument("checkpoint", type=Path, help="a run's folder, or a .ckpt file")
    parser.add_argument("overrides", nargs="*", metavar="SETTING=VALUE", help="e.g. data.root=../flickr8k")
    parser.add_argument("--split", default="test", help="train, val or test (default: test)")
    parser.add_argument("--out", type=Path, help="folder for what it writes (default: the run's folder)")
    parser.add_argument("--device", default="auto", help="cpu, cuda, … (default: the GPU where there is one)")
    add_search_options(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    options = parser().parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    scores = evaluate(
        options.checkpoint, options.split, options.overrides, search_of(options), options.out, options.device
    )
    print("  ".join(f"{name:>7}" for name in scores))
    print("  ".join(f"{100 * value:7.2f}" for value in scores.values()))
    return 0


def evaluate(
    checkpoint: Path,
    split: str = "test",
    overrides: Sequence[str] = (),
    search: "Search | None" = None,
    out: Path | None = None,
    device: str = "auto",
    photos: "CaptionedPhotos | None" = None,
) -> dict[str, float]:
    """Score a trained captioner on a split.

    Writes ``captions_SPLIT.json`` (COCO's results format), ``references_SPLIT.json`` (COCO's annotations format, for
    ``captioning score``), ``scores_SPLIT.json`` and ``captions_SPLIT.png``, a contact sheet.

    Args:
        checkpoint: a run's folder, or a file.
        split: ``train``, ``val`` or ``test``.
        overrides: changes of the checkpoint's configuration, such as ``data.root=…``.
        search: the checkpoint's own where not given.
        out: the folder to write to; the run's own where not given.
        device: where to run.
        photos: the data, where they have been read already.

    Returns:
        The scores by name, ×1.

    Raises:
        CaptioningError: the checkpoint, the data or the split is missing or does not fit.
    """
    from captioning.analysis.report import draw_contact_sheet
    from captioning.captioner import Captioner
    from captioning.core.progress import progress
    from captioning.metrics import annotations_of
    from captioning.training import assembly
    from captioning.training.checkpoint import find_checkpoint
    from captioning.training.scoring import Scorer

    captioner = Captioner.load(checkpoint, device)
    config = change(dict(captioner.config), overrides)
    photos = photos or assembly.read_photos(config)
    members = photos[split]
    search = search or assembly.make_search(config)
    data = assembly.make_data(config, photos, captioner.vocabulary, captioner.encoder, captioner.decoder.reads)
    captions: list[str] = []
    for batch in progress(data.loader(split), f"captioning {split}", unit="batch"):
        features = batch.features
        if features is None:
            features = captioner.encoder(batch.images.to(captioner.device))
        captions += [caption.text for caption in captioner.describe(features, search)]
    scores = dict(Scorer([photo.captions for photo in members])(captions))

    if out is None:
        file = find_checkpoint(checkpoint)
        out = file.parents[1] if file.parent.name == "checkpoints" else file.parent
    ids = [photo.id for photo in members]
    results = [{"image_id": id, "caption": caption} for id, caption in zip(ids, captions, strict=True)]
    write_json(out / f"captions_{split}.json", results)
    write_json(out / f"references_{split}.json", annotations_of(ids, [photo.captions for photo in members]))
    write_json(out / f"scores_{split}.json", {"split": split, "images": len(ids), "scores": scores})
    step = max(1, len(members) // 16)
    chosen = list(zip((photo.path for photo in members), captions, strict=True))[::step][:16]
    draw_contact_sheet(chosen, out / f"captions_{split}.png")
    log.info("wrote %s", ", ".join(str(out / f"{name}_{split}.{suffix}") for name, suffix in WRITTEN))
    return scores


WRITTEN = (("captions", "json"), ("references", "json"), ("scores", "json"), ("captions", "png"))
