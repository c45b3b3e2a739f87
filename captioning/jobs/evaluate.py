"""``captioning evaluate``: score a trained run on a split, and write the captions of a captioner."""

import argparse
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from captioning.core.measure import Measure
from captioning.core.memory import keep_memory
from captioning.core.ownership import write_json_output
from captioning.core.terminal import show_log
from captioning.jobs.evaluated import evaluated
from captioning.jobs.options import (
    OF_ANY,
    OF_BEAM,
    OF_GROUPS,
    OF_SAMPLE,
    STDOUT,
    add_json_option,
    add_search_options,
    add_trust_option,
    search_of,
    trusted,
    write_json,
)

if TYPE_CHECKING:
    from captioning.runs.parts import Config
    from captioning.search import Search
    from captioning.tasks import Evaluation

log = logging.getLogger(__name__)


def parser() -> argparse.ArgumentParser:
    """The parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="captioning evaluate",
        description="Score what a run has trained on a split. Of a captioner: caption the split, score the captions, "
        "and write them in COCO's results format. Of a language model: the loss of its text's last part.",
    )
    parser.add_argument("checkpoint", type=Path, help="a run's folder, or a .ckpt file")
    parser.add_argument(
        "overrides",
        nargs="*",
        metavar="SETTING=VALUE",
        help="e.g. data.root=../flickr8k: where the data are, unless it is the default place, is yours to say",
    )
    parser.add_argument("--split", help="train, val or test (default: test, of a language model val)")
    parser.add_argument("--out", type=Path, help="folder for what it writes (default: the run's folder)")
    add_json_option(parser, "scores")
    parser.add_argument("--device", default="auto", help="cpu, cuda, … (default: the GPU where there is one)")
    add_trust_option(parser)
    add_search_options(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    options = parser().parse_intermixed_args(argv)
    show_log()
    keep_memory()
    found = evaluate(
        options.checkpoint,
        options.split,
        options.overrides,
        partial(search_of, options) if asks_for_a_search(options) else None,
        options.out,
        options.device,
        trust=trusted(options.trust, options.overrides),
    )
    if options.json:
        write_json(options.json, content_of(found))
    if options.json != STDOUT:
        measures = {name: found.measures.get(name, Measure(name, higher_is_better=False)) for name in found.scores}
        values = [measures[name].text(value, 2) for name, value in found.scores.items()]
        widths = [max(7, len(name), len(value)) for name, value in zip(found.scores, values, strict=True)]
        print("  ".join(name.rjust(width) for name, width in zip(found.scores, widths, strict=True)))
        print("  ".join(value.rjust(width) for value, width in zip(values, widths, strict=True)))
        print(*found.lines, sep="\n", end="\n" if found.lines else "")
    return 0


def asks_for_a_search(options: argparse.Namespace) -> bool:
    """True if a command line has an option of the search."""
    names = {"beam", *OF_ANY, *OF_BEAM, *OF_GROUPS, *OF_SAMPLE}
    return options.sample or any(getattr(options, name) is not None for name in names)


def evaluate(
    checkpoint: Path,
    split: str | None = None,
    overrides: Sequence[str] = (),
    search: "Callable[[Config], Search] | None" = None,
    out: Path | None = None,
    device: str = "auto",
    trust: Sequence[str] = (),
) -> "Evaluation":
    """Score a trained run on a split.

    Writes ``scores_SPLIT.json`` and the task's files. Older files of such names are moved aside.

    Args:
        checkpoint: a run's folder, or a checkpoint file.
        split: ``train``, ``val`` or ``test``; by default the task's own choice.
        overrides: changes of the checkpoint's configuration, such as the place of the data (``data.root=…``).
        search: a function from the configuration to the search; by default the checkpoint's own search.
        out: the output folder; by default the run's own.
        device: the device of the evaluation.
        trust: modules or classes outside this package that the checkpoint may name.

    Raises:
        CaptioningError: the checkpoint, the data or the split is missing or does not fit.
    """
    from captioning.core.build import build
    from captioning.runs.checkpoint import read_checkpoint
    from captioning.runs.trust import check_task
    from captioning.tasks import Task

    read = read_checkpoint(checkpoint, trust)
    check_task(read.config, read.path, trust)
    config = evaluated(read, overrides, trust)
    task = build(config["task"], Task, config=config)
    split = split or task.splits[0]
    if out is None:
        out = read.path.parents[1] if read.path.parent.name == "checkpoints" else read.path.parent
    found = task.evaluate(
        checkpoint, split, out=out, device=device, trust=trust, search=search(config) if search else None
    )
    found = replace(found, split=split, measures=task.measures)
    write_scores(out, found)
    return found


def content_of(found: "Evaluation") -> dict[str, Any]:
    """The content of the file of scores."""
    return {"split": found.split, **found.details, "scores": found.scores}


def write_scores(folder: Path, found: "Evaluation") -> None:
    """Write ``scores_SPLIT.json``."""
    path = folder / f"scores_{found.split}.json"
    write_json_output(path, content_of(found))
    log.info("wrote %s", path)
