"""``captioning sample``: write text with a language model of characters."""

import argparse
import io
import logging
import sys
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

from captioning.core.errors import CaptioningError
from captioning.core.terminal import printable, show_log
from captioning.jobs.options import add_trust_option, parse, trusted
from captioning.jobs.whole import SEEDS, whole


def parser() -> argparse.ArgumentParser:
    """The parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="captioning sample",
        description="Let a language model of characters (experiment=char_rnn) go on with a text, on the terminal.",
    )
    parser.add_argument("--checkpoint", type=Path, required=True, help="a run's folder, or a .ckpt file")
    parser.add_argument("--prime", default="", metavar="TEXT", help="what it goes on with (default: a new line)")
    parser.add_argument("--length", type=whole(), default=1000, help="characters to write (default: 1000)")
    parser.add_argument("--temperature", type=float, default=1.0, help="0: the likeliest always (default: 1)")
    parser.add_argument("--top-k", type=whole(), default=0, metavar="K", help="draw among the K likeliest")
    parser.add_argument("--top-p", type=float, default=1.0, metavar="P", help="draw among the likeliest of total P")
    parser.add_argument("--seed", type=whole(SEEDS), default=0, help="another seed, another text (default: 0)")
    parser.add_argument("--device", default="cpu", help="cpu, cuda, … (default: cpu, the fastest for one text)")
    add_trust_option(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    options = parse(parser(), argv)
    show_log(logging.WARNING)
    if options.length < 1:
        raise CaptioningError(f"--length {options.length}: take 1 or more.")

    import torch

    from captioning.predict.writer import Writer
    from captioning.search import Greedy, Sample

    torch.set_num_threads(1)  # a product with a single row is too small for several threads
    search = (
        Greedy()
        if options.temperature == 0
        else Sample(temperature=options.temperature, top_k=options.top_k, top_p=options.top_p, seed=options.seed)
    )
    writer = Writer.load(options.checkpoint, options.device, trusted(options.trust))
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8", newline="")  # the text unchanged, for any output
    text = writer.stream(options.prime, search)
    keep = "\n\t" if sys.stdout.isatty() else "\n\t\r"  # in a file, line ends stay as in the text
    sys.stdout.write(options.prime)
    for character in islice(text, options.length):
        sys.stdout.write(printable(character, keep))
        sys.stdout.flush()
    if sys.stdout.isatty():
        sys.stdout.write("\n")
    return 0
