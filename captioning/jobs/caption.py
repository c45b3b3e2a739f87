"""``captioning caption``: captions for a user's photographs."""

import argparse
import glob
import io
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from captioning.bulk.forms import MANY
from captioning.core.errors import CaptioningError, UsageError
from captioning.core.ownership import require_output
from captioning.core.terminal import printable, show_log
from captioning.jobs import caption_bulk
from captioning.jobs.options import (
    STDOUT,
    add_average_option,
    add_json_option,
    add_search_options,
    add_trust_option,
    add_weights_option,
    average_of,
    parse,
    search_of,
    trusted,
    weights_of,
    write_json,
)
from captioning.jobs.paths import named_picture
from captioning.jobs.whole import BEAMS, whole


def parser() -> argparse.ArgumentParser:
    """The parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="captioning caption",
        description="Caption photographs, or clips by a captioner of clips: one line each, the file and its caption, "
        "separated by a tab. Several checkpoints are one ensemble: a single search over the mean of what they predict.",
    )
    parser.add_argument("pictures", nargs="+", help="files, folders (and what is below them), or quoted patterns")
    parser.add_argument(
        "--checkpoint",
        type=Path,
        action="append",
        help="a run's folder, a .ckpt file or a published captioner's folder; repeat it for an ensemble, which "
        "searches as the first was trained to (default: the captioner inside the installation)",
    )
    add_average_option(parser)
    add_weights_option(parser)
    parser.add_argument(
        "--n-best",
        type=whole(BEAMS),
        default=1,
        metavar="N",
        help="the N best captions of each photograph (or N samples), best first, a line each, with the log-probability "
        "(of beam search: the score, of a consensus: the expected similarity) that they are ranked by in a third "
        "column (default: 1, without)",
    )
    add_json_option(parser, "the captions and their scores")
    parser.add_argument("--attention", type=Path, metavar="PNG", help="draw where the best caption looked at each word")
    parser.add_argument("--batch-size", type=whole(), default=16, help="photographs at a time (default: 16)")
    parser.add_argument("--device", default="auto", help="cpu, cuda, … (default: the GPU where there is one)")
    add_trust_option(parser)
    add_search_options(parser)
    caption_bulk.add_bulk_options(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Returns:
        0, or 1 if a picture can't be read or a folder has none.
    """
    options = parse(parser(), argv)
    show_log(logging.WARNING)
    if options.out is not None:
        return caption_bulk.main(options)
    require_no_bulk(options)
    average = average_of(options, len(options.checkpoint or [None]))
    weights = weights_of(options, len(options.checkpoint or [None]))
    to_stdout = options.json == STDOUT
    for path in filter(None, (None if to_stdout else options.json, options.attention)):
        require_output(path)
    from captioning.core.memory import no_collection

    with no_collection():
        from captioning.core.images import read_image
        from captioning.predict.captioner import Caption, Captioner
        from captioning.search.search import say_empty

    missing: list[CaptioningError] = []
    paths = find_pictures(options.pictures, missing)
    for error in missing:
        print(printable(f"captioning: {error}"), file=sys.stderr)
    unreadable: set[int] = set()

    def say(place: int, error: CaptioningError) -> None:
        print(printable(f"captioning: {error}"), file=sys.stderr)
        unreadable.add(place)

    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.encoding.lower() == "utf-8":
        sys.stdout.reconfigure(errors="surrogateescape")  # prints file names that are not UTF-8 unchanged
    with no_collection():
        captioner = Captioner.load(options.checkpoint, options.device, trusted(options.trust), average, weights)
    search = search_of(options, captioner.config)

    def draw(caption: Caption, path: Path, number: int) -> None:
        from captioning.encoders.frames import ClipTransform
        from captioning.report.attention import draw_attention
        from captioning.report.frames import draw_frames

        if caption.attention is None:
            return
        if len(caption.text.split()) != len(caption.attention):
            raise CaptioningError(
                f"{(options.checkpoint or [captioner.path])[0]}: a word of its vocabulary has blanks. It is damaged."
            )
        drawing, transform = numbered(options.attention, number), captioner.encoder.transform
        if isinstance(transform, ClipTransform):
            draw_frames(transform.frames_of(path), caption.text, caption.attention[:, 0], drawing)
            return
        image = read_image(path)
        draw_attention(image, caption.text, caption.attention, drawing, transform.seen(image.size), caption.sentinel)

    rows: list[dict[str, object]] = []
    drawn = options.attention is not None
    found = captioner.caption(paths, search, options.batch_size, drawn, n=options.n_best, unusable=say)
    place, empty = -1, 0
    for number, captions in enumerate(found):
        place = next(each for each in range(place + 1, len(paths)) if each not in unreadable)
        path = paths[place]
        empty += not captions[0].text
        if not to_stdout:
            for caption in captions:
                score = f"\t{caption.score:.4f}" if options.n_best > 1 else ""
                print(f"{printable(str(path))}\t{printable(caption.text)}{score}", flush=True)
        plain = [{"caption": caption.text, "score": caption.score} for caption in captions]
        name = os.fsencode(path).decode(errors="replace")
        rows.append({"image": name, **(plain[0] if options.n_best == 1 else {"captions": plain})})
        if drawn:
            draw(captions[0], path, number)
    if empty:
        print(f"captioning: {say_empty(empty, len(rows))}", file=sys.stderr)
    if options.json:
        write_json(options.json, rows)
    return 1 if unreadable or missing else 0


def find_pictures(names: Sequence[str], missing: list[CaptioningError] | None = None) -> list[Path]:
    """The pictures named by files, folders and patterns, each once, in the order of the names.

    Args:
        names: the names; ``~`` is the user's folder.
        missing: a list that takes the errors of names without pictures, as long as others have some.

    Raises:
        CaptioningError: a folder holds no picture, a pattern matches no file, or a name is empty or an address.
    """
    from captioning.core.images import find_images

    found: dict[Path, None] = {}
    failed: list[CaptioningError] = []
    for given in names:
        try:
            name = named_picture(given)
        except UsageError:
            raise
        except CaptioningError as error:
            failed.append(error)
            continue
        path = Path(name)
        # os.path: False of a name that is too long, or in a closed folder; its reading says what is wrong
        if os.path.isdir(path):  # noqa: PTH112
            paths = find_images(path)
        elif not os.path.exists(path) and glob.has_magic(name):  # noqa: PTH110
            paths = sorted(Path(match) for match in glob.glob(name, recursive=True))  # noqa: PTH207
        else:
            paths = [path]
        if not paths:
            failed.append(CaptioningError(f"{name}: no picture there. Check the folder or the pattern."))
        found.update(dict.fromkeys(paths))
    if failed and (missing is None or not found):
        raise failed[0]
    if missing is not None:
        missing += failed
    return list(found)


def require_no_bulk(options: argparse.Namespace) -> None:
    """Refuse what only ``--out`` takes.

    Raises:
        CaptioningError: an option has no effect, or a source is none of pictures.
    """
    if options.ray is not None or options.column is not None:
        raise CaptioningError("--ray and --column have no effect without --out. Name an output, or leave them out.")
    many = [name for name in options.pictures if name.lower().endswith(MANY) and os.path.isfile(name)]  # noqa: PTH113
    if many:
        raise CaptioningError(f"{many[0]}: lists, tar and Parquet files are captioned with --out captions.jsonl.")


def numbered(path: Path, number: int) -> Path:
    """``out.png`` for the first picture, ``out_2.png``, ``out_3.png``, … for further pictures."""
    return path if number == 0 else path.with_name(f"{path.stem}_{number + 1}{path.suffix}")
