"""``captioning caption``: captions for anyone's photographs."""

import argparse
import glob
import io
import logging
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from captioning.core.errors import CaptioningError
from captioning.core.ownership import require_output
from captioning.core.terminal import printable, show_log
from captioning.jobs.options import add_search_options, add_trust_option, search_of, trusted


def parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="captioning caption",
        description="Caption photographs: one line each, the file and its caption, separated by a tab.",
    )
    parser.add_argument("pictures", nargs="+", help="files, folders (and what is below them), or quoted patterns")
    parser.add_argument("--checkpoint", type=Path, required=True, help="a run's folder, or a .ckpt file")
    parser.add_argument("--json", type=Path, help="also write the captions to this file")
    parser.add_argument("--attention", type=Path, metavar="PNG", help="draw where it looked at each word")
    parser.add_argument("--batch-size", type=int, default=16, help="photographs at a time (default: 16)")
    parser.add_argument("--device", default="auto", help="cpu, cuda, … (default: the GPU where there is one)")
    add_trust_option(parser)
    add_search_options(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Returns:
        0, or 1 when a picture could not be read.
    """
    options = parser().parse_intermixed_args(argv)
    show_log(logging.WARNING)
    for path in filter(None, (options.json, options.attention)):
        require_output(path)
    from PIL import Image

    from captioning.core.images import read_image
    from captioning.core.ownership import write_json_output
    from captioning.predict.captioner import Captioner

    unreadable = 0
    readable: list[Path] = []

    def pictures() -> Iterator[Image.Image]:
        nonlocal unreadable
        for path in find_pictures(options.pictures):
            try:
                image = read_image(path)
            except CaptioningError as error:
                print(printable(f"captioning: {error}"), file=sys.stderr)
                unreadable += 1
                continue
            readable.append(path)
            yield image

    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="surrogateescape")  # file names that are not UTF-8, as they are
    captioner = Captioner.load(options.checkpoint, options.device, trusted(options.trust))
    search = search_of(options, captioner.config)
    rows = []
    found = captioner.caption(pictures(), search, options.batch_size, options.attention is not None)
    for number, caption in enumerate(found):
        print(f"{printable(str(readable[number]))}\t{printable(caption.text)}", flush=True)
        name = os.fsencode(readable[number]).decode(errors="replace")
        rows.append({"image": name, "caption": caption.text, "score": caption.score})
        if caption.attention is not None:
            from captioning.report.attention import draw_attention

            if len(caption.text.split()) != len(caption.attention):
                raise CaptioningError(f"{options.checkpoint}: a word of its vocabulary has blanks. It is damaged.")
            image = read_image(readable[number])
            seen = captioner.encoder.transform.seen(image.size)
            draw_attention(image, caption.text, caption.attention, numbered(options.attention, number), seen)
    if options.json:
        write_json_output(options.json, rows)
    return 1 if unreadable else 0


def find_pictures(names: Sequence[str]) -> list[Path]:
    """The pictures that files, folders and patterns name, each once, in the order named.

    Raises:
        CaptioningError: a folder holds no picture, or nothing matches a pattern.
    """
    from captioning.core.images import find_images

    found: dict[Path, None] = {}
    for name in names:
        path = Path(name)
        if path.is_dir():
            paths = find_images(path)
        elif not path.exists() and glob.has_magic(name):
            paths = sorted(Path(match) for match in glob.glob(name, recursive=True))  # noqa: PTH207
        else:
            paths = [path]
        if not paths:
            raise CaptioningError(f"{name}: no picture there. Check the folder or the pattern.")
        found.update(dict.fromkeys(paths))
    return list(found)


def numbered(path: Path, number: int) -> Path:
    """``out.png`` for the first picture, ``out_2.png``, ``out_3.png``, … for those that follow."""
    return path if number == 0 else path.with_name(f"{path.stem}_{number + 1}{path.suffix}")
