"""``captioning evaluate``: score a trained run on a split, and write the captions of a captioner."""

import argparse
import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from captioning.core.errors import CaptioningError
from captioning.core.measure import Measure
from captioning.core.memory import keep_memory
from captioning.core.ownership import write_json_output
from captioning.core.terminal import nearby, show_log
from captioning.jobs.evaluated import evaluated_task
from captioning.jobs.options import (
    OF_ANY,
    OF_BEAM,
    OF_GROUPS,
    OF_SAMPLE,
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

if TYPE_CHECKING:
    from captioning.data import Photo
    from captioning.predict.captioner import Averaged, Captioner
    from captioning.runs.parts import Config
    from captioning.search import Search
    from captioning.tasks import Evaluation

log = logging.getLogger(__name__)


def parser() -> argparse.ArgumentParser:
    """The parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="captioning evaluate",
        description="Score what a run has trained on a split. Of a captioner: caption the split, score the captions, "
        "and write them in COCO's results format. Of a language model: the loss of its text's last part. Several "
        "captioners are one ensemble.",
    )
    parser.add_argument("checkpoint", type=Path, help="a run's folder, or a .ckpt file")
    parser.add_argument(
        "further",
        nargs="*",
        metavar="CHECKPOINT or SETTING=VALUE",
        help="further captioners of an ensemble (./a=b for a folder with such a name); settings such as "
        "data.root=../flickr8k: where the data are, unless it is the default place, is yours to say",
    )
    add_average_option(parser)
    add_weights_option(parser)
    parser.add_argument("--split", help="train, val or test (default: test, of a language model val)")
    parser.add_argument("--out", type=Path, help="folder for what it writes (default: the run's, or one beside it)")
    add_json_option(parser, "scores")
    parser.add_argument(
        "--rate", action="store_true", help="also measure how many photographs are captioned a second, from files"
    )
    parser.add_argument("--device", default="auto", help="cpu, cuda, … (default: the GPU where there is one)")
    add_trust_option(parser)
    add_search_options(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    options = parse(parser(), argv)
    show_log()
    keep_memory()
    others, overrides = further(options.further)
    checkpoints = [options.checkpoint, *others]
    found = evaluate(
        checkpoints,
        options.split,
        overrides,
        partial(search_of, options) if asks_for_a_search(options) else None,
        options.out,
        options.device,
        trust=trusted(options.trust, overrides),
        average=average_of(options, len(checkpoints)),
        rate=options.rate,
        weights=weights_of(options, len(checkpoints)),
    )
    if options.json:
        write_json(options.json, content_of(found))
    if options.json != STDOUT:
        measures = {name: found.measures.get(name, Measure(name, higher_is_better=False)) for name in found.scores}
        fixed = found.details.get("constant", ())  # no measurements
        values = ["–" if name in fixed else measures[name].text(value, 2) for name, value in found.scores.items()]
        widths = [max(7, len(name), len(value)) for name, value in zip(found.scores, values, strict=True)]
        print("  ".join(name.rjust(width) for name, width in zip(found.scores, widths, strict=True)))
        print("  ".join(value.rjust(width) for value, width in zip(values, widths, strict=True)))
        print(*found.lines, sep="\n", end="\n" if found.lines else "")
    return 0


def asks_for_a_search(options: argparse.Namespace) -> bool:
    """True if a command line has an option of the search."""
    names = {"beam", "neighbours", *OF_ANY, *OF_BEAM, *OF_GROUPS, *OF_SAMPLE}
    return options.sample or options.consensus or any(getattr(options, name) is not None for name in names)


def further(arguments: Sequence[str]) -> tuple[list[Path], list[str]]:
    """The paths and the settings among arguments: a setting's name has no slash, and no file has its name."""
    settings = [
        each
        for each in arguments
        if "=" in each and "/" not in each.partition("=")[0] and not os.path.exists(each)  # noqa: PTH110
    ]
    return [Path(each) for each in arguments if each not in settings], settings


def evaluate(
    checkpoint: Path | Sequence[Path],
    split: str | None = None,
    overrides: Sequence[str] = (),
    search: "Callable[[Config], Search] | None" = None,
    out: Path | None = None,
    device: str = "auto",
    trust: Sequence[str] = (),
    average: "Averaged" = "probabilities",
    rate: bool = False,
    weights: Sequence[float] | None = None,
) -> "Evaluation":
    """Score a trained run, or an ensemble of several, on a split.

    Writes ``scores_SPLIT.json`` and the task's files. Older files of such names are moved aside.

    Args:
        checkpoint: a run's folder, or a checkpoint file; several such paths for an ensemble, whose data, settings and
            metrics are those of the first.
        split: ``train``, ``val`` or ``test``; by default the task's own choice.
        overrides: changes of the checkpoint's configuration, such as the place of the data (``data.root=…``).
        search: a function from the configuration to the search; by default the checkpoint's own search.
        out: the output folder; by default the run's own, of an ensemble a folder beside the first run.
        device: the device of the evaluation.
        trust: modules or classes outside this package that the checkpoint may name.
        average: the quantity that an ensemble averages.
        rate: whether to measure the photographs captioned a second, too.
        weights: the weights of an ensemble's members in the mean; None for equal weights.

    Raises:
        CaptioningError: a checkpoint, the data or the split is missing or does not fit.
    """
    from captioning.jobs.members import ensemble_name, members_of
    from captioning.predict.captioner import Captioner
    from captioning.runs.places import run_of
    from captioning.runs.settings import data_name

    paths = [checkpoint] if isinstance(checkpoint, Path) else [*checkpoint]
    first, config, task = evaluated_task(paths[0], overrides, trust)
    split = split or task.splits[0]
    searched = search(config) if search else None
    if len(paths) == 1:
        out = out or run_of(first.path)
        found = task.evaluate(paths[0], split, out=out, device=device, trust=trust, search=searched)
        elsewhere = out.resolve() != run_of(first.path).resolve()
        another = searched is not None or data_name(config) != data_name(first.config)
        if elsewhere and another:  # a row of these scores needs the run's settings
            found = replace(found, details={"run": str(run_of(first.path).resolve()), **found.details})
    else:
        members = members_of(paths, trust)
        if weights is not None and not task.weighted:
            raise CaptioningError("The ensembles of this task have equal weights: leave --weights out.")
        out = out or run_of(first.path).parent / ensemble_name(members, average, weights)
        weighted = {} if weights is None else {"weights": list(weights)}
        found = task.evaluate_ensemble(
            paths, split, average=average, out=out, device=device, trust=trust, search=searched, **weighted
        )
        found = replace(found, details={**found.details, "average": average, "members": members, **weighted})
    if rate:
        found = with_rate(
            found, Captioner.load(paths, device, trust, average, weights), task.source_of(split)[split], searched
        )
    found = replace(signed(found, first.signature), split=split, measures={**task.measures, **found.measures})
    found = replace(found, details={"data": data_name(config), **found.details})
    write_scores(out, found)
    return found


def signed(found: "Evaluation", signature: str) -> "Evaluation":
    """An evaluation that names the objective's signature, if there is one, in the file of scores and the output."""
    if not signature:
        return found
    return replace(
        found, details={"signature": signature, **found.details}, lines=[*found.lines, f"trained by {signature}"]
    )


def with_rate(
    found: "Evaluation", captioner: "Captioner", photos: "Sequence[Photo]", search: "Search | None"
) -> "Evaluation":
    """An evaluation with the number of photographs that are captioned in a second."""
    from captioning.predict.rate import photographs_per_second

    rate = photographs_per_second(captioner, [photo.path for photo in photos], search)
    line = f"{rate:.1f} photographs captioned a second, from files"
    return replace(
        found, details={**found.details, "photographs_per_second": round(rate, 2)}, lines=[*found.lines, line]
    )


def content_of(found: "Evaluation") -> dict[str, Any]:
    """The content of the file of scores."""
    return {"split": found.split, **found.details, "scores": found.scores}


def write_scores(folder: Path, found: "Evaluation") -> None:
    """Write ``scores_SPLIT.json``."""
    path = folder / f"scores_{found.split}.json"
    write_json_output(path, content_of(found))
    log.info("wrote %s", nearby(path))
