"""``captioning translate``: translations of sentences and of files of sentences."""

import argparse
import logging
import os
from collections.abc import Sequence
from pathlib import Path

from captioning.core.errors import CaptioningError
from captioning.core.ownership import require_output
from captioning.core.terminal import printable, show_log
from captioning.jobs.caption import numbered
from captioning.jobs.options import (
    STDOUT,
    add_json_option,
    add_search_options,
    add_trust_option,
    parse,
    search_of,
    trusted,
    write_json,
)
from captioning.jobs.paths import expanded
from captioning.jobs.whole import whole


def parser() -> argparse.ArgumentParser:
    """The parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="captioning translate",
        description="Translate sentences, or the lines of text files: one line of output for each sentence, also for "
        "an empty one.",
    )
    parser.add_argument("checkpoint", type=Path, help="a run's folder, or a .ckpt file")
    parser.add_argument("texts", nargs="+", metavar="FILE or TEXT", help="a file of sentences, or a sentence in quotes")
    parser.add_argument(
        "--attention", type=Path, metavar="PNG", help="draw which source words each word was written from"
    )
    add_json_option(parser, "the translations with their sources and scores")
    parser.add_argument("--batch-size", type=whole(), default=32, help="sentences at a time (default: 32)")
    parser.add_argument("--device", default="auto", help="cpu, cuda, … (default: the GPU where there is one)")
    add_trust_option(parser)
    add_search_options(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    options = parse(parser(), argv)
    show_log(logging.WARNING)
    for path in filter(None, (None if options.json == STDOUT else options.json, options.attention)):
        require_output(path)
    texts = [text for given in options.texts for text in sentences_of(given)]
    from captioning.predict.translator import Translator

    translator = Translator.load(options.checkpoint, options.device, trusted(options.trust))
    search = search_of(options, translator.config)
    rows: list[dict[str, object]] = []
    found = translator.translate(texts, search, options.batch_size, attention=options.attention is not None)
    for number, (text, translation) in enumerate(zip(texts, found, strict=True)):
        if options.json != STDOUT:
            print(printable(translation.text), flush=True)
        rows.append({"source": text, "translation": translation.text, "score": translation.score})
        if translation.attention is not None:
            from captioning.report.alignment import draw_alignment

            weights = translation.attention
            draw_alignment(translation.source, translation.tokens, weights, numbered(options.attention, number))
    if options.json:
        write_json(options.json, rows)
    return 0


def sentences_of(given: str) -> list[str]:
    """The lines of a file, or the sentence itself if there is no such file.

    Raises:
        CaptioningError: the file can't be read or has no line, or the name of a file that is not there was given.
    """
    from captioning.core.texts import read_text, rows_of

    path = Path(expanded(given))
    # False, too, of a sentence that is longer than a file's name may be
    if given.strip() and (os.path.exists(path) or path.suffix in (".txt", ".gz")):  # noqa: PTH110
        lines = rows_of(read_text(path, "file of sentences"))
        if not lines:
            raise CaptioningError(f"{path}: the file is empty. Write a sentence in each line.")
        return lines
    return given.split("\n")
