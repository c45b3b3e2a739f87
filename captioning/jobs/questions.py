"""``captioning questions``: questions with answers of one word from captions."""

import argparse
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from captioning.core.errors import CaptioningError, UsageError
from captioning.core.ownership import output, require_output
from captioning.core.terminal import show_log
from captioning.jobs.evaluate import further
from captioning.jobs.options import parse
from captioning.jobs.whole import SEEDS, whole

if TYPE_CHECKING:
    from captioning.data.captions_to_questions import Asked


def parser() -> argparse.ArgumentParser:
    """The parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="captioning questions",
        description="Make questions with answers of one word from captions, about objects, numbers, colours and "
        "places, in the form of data=own_questions. Needs WordNet (python -m nltk.downloader wordnet).",
    )
    parser.add_argument(
        "captions",
        nargs="+",
        metavar="CAPTIONS or SETTING=VALUE",
        help="an annotations file in COCO's format, or a data set: data=flickr8k data.root=…, whose splits are kept",
    )
    parser.add_argument("--out", type=Path, default=Path("questions.jsonl"), help="(default: questions.jsonl)")
    parser.add_argument("--images", type=Path, help="of an annotations file: the folder of its photographs")
    parser.add_argument("--all", action="store_true", help="keep all questions with frequent answers")
    parser.add_argument("--seed", type=whole(SEEDS, 0), default=0, help="of the choice among them (default: 0)")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    options = parse(parser(), argv)
    show_log()
    require_output(options.out)
    files, settings = further(options.captions)
    if bool(settings) == bool(files) or len(files) > 1:
        raise UsageError("Name one annotations file, or a data set by its settings (data=flickr8k data.root=…).")
    captions = _of_a_data_set(settings) if settings else _of_a_file(files[0], options.images)
    from captioning.data.captions_to_questions import agreed, questions_of, thinned

    def asked() -> Iterator[tuple[dict[str, str], "Asked"]]:
        for place, said in captions:
            for each in agreed([each for caption in said for each in questions_of(caption)]):
                yield place, each

    kinds: dict[str, Counter[str]] = {}
    with output(options.out) as file:
        for place, each in asked() if options.all else thinned(asked(), options.seed):
            row = {**place, "question": each.text, "answer": each.answer, "kind": each.kind}
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
            kinds.setdefault(place.get("split", "all"), Counter())[each.kind] += 1
    for split, counts in kinds.items():
        told = ", ".join(f"{kind} {count}" for kind, count in counts.most_common())
        print(f"{options.out} {split}: {sum(counts.values())} questions ({told})")
    return 0


def _of_a_file(path: Path, images: Path | None) -> Iterator[tuple[dict[str, str], list[str]]]:
    from captioning.core.texts import fault_of
    from captioning.data.coco import load_captions

    coco: Any = load_captions(path)
    for image, annotations in coco.imgToAnns.items():
        name = coco.imgs[image].get("file_name", str(image))
        captions = [annotation["caption"] for annotation in annotations]
        if fault := next(filter(None, map(fault_of, captions)), None):
            raise CaptioningError(f"{path}: a caption of image {image} {fault}. Correct it.")
        yield {"image": str(images / name if images else name)}, captions


def _of_a_data_set(settings: Sequence[str]) -> Iterator[tuple[dict[str, str], list[str]]]:
    from captioning.core.build import call
    from captioning.data import CaptionedPhotos
    from captioning.jobs.config import compose

    photos = call(compose(settings)["data"]["source"], CaptionedPhotos)
    for split, members in photos.splits.items():
        for photo in members:
            yield {"image": str(photo.path.absolute()), "split": split}, list(photo.captions)
