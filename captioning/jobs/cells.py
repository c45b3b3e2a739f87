"""``captioning cells``: find interpretable units of a trained network, and draw their values."""

import argparse
import logging
from collections.abc import Sequence
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

from captioning.core.errors import CaptioningError
from captioning.core.terminal import show_log
from captioning.jobs.options import add_trust_option, parse, trusted
from captioning.jobs.whole import whole

if TYPE_CHECKING:
    from captioning.analysis.units import Watched


def parser() -> argparse.ArgumentParser:
    """The parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="captioning cells",
        description="Let a trained network read, find the units that follow a feature of the text (inside quotes, "
        "position in line, …) in the first half, score them on the second, and draw what they do there. A language "
        "model of characters reads a text; a captioner reads the captions that it generates of photographs.",
    )
    parser.add_argument("inputs", nargs="+", help="a text file; or photographs, folders, quoted patterns")
    parser.add_argument("--checkpoint", type=Path, required=True, help="a run's folder, or a .ckpt file")
    parser.add_argument("--out", type=Path, default=Path("cells"), help="folder for what it writes (default: cells)")
    parser.add_argument("--length", type=whole(), default=20_000, help="characters to read (default: 20000)")
    parser.add_argument("--drawn", type=whole(), default=2000, help="characters or words to draw (default: 2000)")
    add_trust_option(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    options = parse(parser(), argv)
    show_log(logging.WARNING)
    from captioning.analysis.candidates import as_table
    from captioning.core.vocabulary import CharacterVocabulary
    from captioning.report.units import write_units
    from captioning.runs.checkpoint import read_checkpoint

    trust = trusted(options.trust)
    if isinstance(read_checkpoint(options.checkpoint, trust).vocabulary, CharacterVocabulary):
        watched = watch_text(options.checkpoint, options.inputs, options.length, trust)
    else:
        watched = watch_captions(options.checkpoint, options.inputs, trust)
    candidates = watched.candidates()
    if not candidates:
        raise CaptioningError(
            f"{options.checkpoint}: what it read has no feature that varies in both halves, so there is nothing to "
            "find. Give more of it, or train longer."
        )
    print(as_table(candidates))
    write_units(watched, candidates, options.out, options.drawn)
    print(f"\n{options.out / 'cells.html'} shows what they do; cells.json, gates.png and a PNG each are beside it")
    return 0


def watch_text(checkpoint: Path, names: Sequence[str], length: int, trust: Sequence[str] = ()) -> "Watched":
    """Record a language model on the first ``length`` characters of a text.

    Raises:
        CaptioningError: the names are not exactly one text, the text can't be read or is too short, or the model does
            not know a character.
    """
    from captioning.analysis.recording import record
    from captioning.analysis.text_features import text_features
    from captioning.analysis.units import Watched
    from captioning.core.features import Features
    from captioning.core.texts import open_text
    from captioning.predict.writer import Writer

    if len(names) != 1:
        raise CaptioningError(f"{checkpoint}: a language model of characters reads one text, not {len(names)}.")
    with open_text(names[0], "text") as file:
        text = file.read(length)
    if len(text) < 100:
        raise CaptioningError(f"{names[0]}: {len(text)} characters are too few to find anything in. Take 100 or more.")
    writer = Writer.load(checkpoint, trust=trust)
    numbers = writer.vocabulary.encode(text)
    recording = record(writer.decoder, writer.decoder.start(Features.none(1)), numbers)
    return Watched(list(text), text_features(text), recording)


def watch_captions(checkpoint: Path, names: Sequence[str], trust: Sequence[str] = ()) -> "Watched":
    """Record a captioner on its own captions of photographs, ``<start>`` first.

    Raises:
        CaptioningError: the photographs are too few, or a photograph can't be read.
    """
    import torch

    from captioning.analysis.recording import record
    from captioning.analysis.text_features import caption_features
    from captioning.analysis.units import Watched
    from captioning.core.features import Features
    from captioning.core.progress import progress
    from captioning.core.vocabulary import PAD, START
    from captioning.jobs.caption import find_pictures
    from captioning.predict.captioner import Captioner

    paths = find_pictures(names)
    if len(paths) < 10:
        raise CaptioningError(f"{len(paths)} photographs are too few to find anything. Take 10 or more.")
    captioner = Captioner.load(checkpoint, trust=trust)
    decoder: Any = captioner.decoder
    encoded = []
    with torch.inference_mode():
        for path in progress(paths, "encoding photographs"):
            image = captioner.encoder.transform.read(path)
            encoded.append(captioner.encoder(image.unsqueeze(0).to(captioner.device)))
        parts = {part: torch.cat([one[part] for one in encoded]) for part in captioner.decoder.reads}
        features = Features(**parts)
        captions = [caption.text.split() for caption in captioner.caption_features(features)]
        if not all(word in captioner.vocabulary.numbers for words in captions for word in words):
            raise CaptioningError(f"{checkpoint}: a word of its vocabulary has blanks in it. It is damaged.")
        lengths = [1 + len(words) for words in captions]
        tokens = torch.full((len(captions), max(lengths)), PAD)
        for row, words in zip(tokens, captions, strict=True):
            row[: 1 + len(words)] = torch.tensor([START, *map(captioner.vocabulary.numbers.__getitem__, words)])
        recording = record(decoder, decoder.start(features), tokens, lengths)
    read = [["<start>", *words] for words in captions]
    pieces = [f"{word} " if more else f"{word}\n" for words in read for word, more in zip_longest(words, words[1:])]
    return Watched(pieces, caption_features(read), recording)
