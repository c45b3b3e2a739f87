"""``captioning prepare data=…``: download or draw a data set if possible, and check it."""

import argparse
from collections.abc import Sequence
from typing import Any

from captioning.core.errors import CaptioningError
from captioning.core.memory import keep_memory
from captioning.core.terminal import show_log
from captioning.jobs.config import compose
from captioning.jobs.options import import_from_working_folder, parse
from captioning.runs.ranges import check_ranges


def parser() -> argparse.ArgumentParser:
    """The parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="captioning prepare",
        description="Fetch a data set (coco, coco2014, coco_karpathy, coco_qa, vqa2) or draw one (scenes), and check "
        "that it is whole. Of a set that can't be fetched it says where it is to be had.",
    )
    parser.add_argument(
        "--features",
        action="append",
        metavar="PART",
        help="also store these features of the encoder (encoder=resnet101, …) for training to read, by the part's name "
        "(pooled, grid, … of the encoder); may be repeated",
    )
    parser.add_argument(
        "--ray",
        type=int,
        metavar="N",
        help="with --features: N processes of Ray read and encode, on this machine or, where RAY_ADDRESS names a "
        "cluster, on its machines, which see the same photographs; each has one processor or one GPU",
    )
    parser.add_argument("overrides", nargs="*", metavar="SETTING=VALUE", help="e.g. data=coco data.root=/data/coco")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    options = parse(parser(), argv)
    if options.ray is not None and not options.features:
        raise CaptioningError("--ray computes features: name them with --features.")
    if options.ray is not None and options.ray < 1:
        raise CaptioningError(f"--ray {options.ray}: take 1 process or more.")
    import_from_working_folder()  # data.source._target_=my_module.read_mine
    settings = compose(options.overrides)
    check_ranges(settings)
    config = settings["data"]
    show_log()
    keep_memory()

    from captioning.core.build import call
    from captioning.data import CaptionedPhotos, QuestionSet

    if config.get("prepare"):
        call(config["prepare"], type(None))
    # draws the scenes; checks the others
    source: Any = call(config["source"], CaptionedPhotos, QuestionSet)
    if isinstance(source, QuestionSet):
        for split, asked in source.splits.items():
            on = len({question.image for question in asked})
            print(f"{config['name']} {split}: {len(asked)} questions on {on} photographs")
        photos = source.photos
    else:
        for split, found in source.splits.items():
            captions = sum(len(photo.captions) for photo in found)
            print(f"{config['name']} {split}: {len(found)} photographs, {captions} captions")
        photos = source
    if options.features and photos is None:
        raise CaptioningError("--features: the photographs of these questions are not here. Set data.images.")
    if options.features and photos is not None:
        from captioning.core.device import find_device
        from captioning.runs.parts import make_encoder
        from captioning.tasks.photographs import store_features

        encoder = make_encoder(settings)
        for part in options.features:
            if part not in encoder.spec:
                raise CaptioningError(
                    f"--features {part}: the encoder's features have no such part. It has {', '.join(encoder.spec)}."
                )
        store_features(
            settings, photos, encoder, list(dict.fromkeys(options.features)), find_device(), options.ray or 0
        )
    return 0
