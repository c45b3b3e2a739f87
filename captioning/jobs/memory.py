"""``captioning memory``: the training photographs of a captioner, to be looked back at by ``search=neighbours``."""

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from captioning.core.errors import CaptioningError
from captioning.core.memory import keep_memory
from captioning.core.ownership import require_output
from captioning.core.terminal import nearby, show_log
from captioning.jobs.evaluate import further
from captioning.jobs.evaluated import evaluated_task
from captioning.jobs.options import add_trust_option, parse, trusted

if TYPE_CHECKING:
    from captioning.search import Memory

FILE = "memory.pt"
log = logging.getLogger(__name__)


def parser() -> argparse.ArgumentParser:
    """The parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="captioning memory",
        description="Store the features and the captions of a captioner's training photographs in one file. With "
        "--neighbours FILE, `captioning caption` and `evaluate` take captions that are similar to those of similar "
        "photographs.",
    )
    parser.add_argument("checkpoint", type=Path, help="a run's folder, or a .ckpt file")
    parser.add_argument(
        "further",
        nargs="*",
        metavar="CHECKPOINT or SETTING=VALUE",
        help="further captioners of an ensemble; settings such as data.root=../flickr8k, where the data are",
    )
    parser.add_argument("--out", type=Path, help=f"(default: {FILE} in the run's folder)")
    parser.add_argument("--device", default="auto", help="cpu, cuda, … (default: the GPU where there is one)")
    add_trust_option(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    options = parse(parser(), argv)
    show_log()
    keep_memory()
    from captioning.runs.places import find_checkpoint, run_of

    others, overrides = further(options.further)
    out = options.out or run_of(find_checkpoint(options.checkpoint)) / FILE
    require_output(out)
    trust = trusted(options.trust, overrides)
    found = remember([options.checkpoint, *others], overrides, options.device, trust)
    found.write(out)
    captions = sum(map(len, found.captions))
    log.info("wrote %s", nearby(out))
    print(f"{out}: {len(found.captions)} photographs, {captions} captions")
    return 0


def remember(
    checkpoints: Sequence[Path], overrides: Sequence[str] = (), device: str = "auto", trust: Sequence[str] = ()
) -> "Memory":
    """The memory of a captioner, or of an ensemble of several, whose data and settings are those of the first.

    Args:
        checkpoints: the folders of runs, or checkpoint files.
        overrides: changes of the checkpoint's configuration, such as the place of the data.
        device: the device of the encoder.
        trust: modules or classes outside this package that the checkpoints may name.

    Raises:
        CaptioningError: a checkpoint or the data are missing or do not fit, or the task is not captioning.
    """
    import torch

    from captioning.core.progress import progress
    from captioning.predict.captioner import Captioner
    from captioning.search import Memory
    from captioning.tasks.captioning import CaptioningTask
    from captioning.tasks.photographs import features_of, make_data

    first, config, task = evaluated_task(checkpoints[0], overrides, trust)
    if not isinstance(task, CaptioningTask):
        raise CaptioningError(f"{first.path}: only captioners of photographs have a memory, and this is none.")
    source = task.source_of("train")
    captioner = Captioner.load(list(checkpoints), device, trust)
    data = make_data(config, source, captioner.vocabulary, captioner.encoder, captioner.decoder.reads, captioner.device)
    part, tokenize = captioner.decoder.reads[0], task.tokenizer
    means = []
    for batch in progress(data.loader("train"), "remembering photographs", unit="batches"):
        with torch.no_grad():
            means.append(features_of(batch.to(captioner.device), captioner.encoder).mean(part).half().cpu())
    captions = [[" ".join(words) for words in tokenize(photo.captions)] for photo in source["train"]]
    return Memory(torch.cat(means), captions, part, captioner.encoder.fingerprint())
