"""``captioning score``: the scores of results files against COCO annotations, in one table."""

import argparse
import csv
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from captioning.core.errors import CaptioningError, UsageError
from captioning.core.memory import keep_memory
from captioning.core.ownership import output, require_output
from captioning.core.terminal import printable, show_log
from captioning.jobs.options import STDOUT, add_json_option, import_from_working_folder, parse, write_json
from captioning.jobs.paths import expanded
from captioning.jobs.score_answers import are_answers, score_answers
from captioning.jobs.score_sets import score_sets
from captioning.jobs.whole import RESAMPLES, SEEDS, whole
from captioning.text import TREEBANK

if TYPE_CHECKING:
    from captioning.metrics import DocumentFrequencies, Metric
    from captioning.metrics.comparison import Report
    from captioning.metrics.image_ids import Ids
    from captioning.metrics.packed import ImageCaptions
    from captioning.text.registry import Tokenizer


log = logging.getLogger(__name__)


def parser() -> argparse.ArgumentParser:
    """The parser of the command line."""
    options = argparse.ArgumentParser(
        prog="captioning score",
        description="Score captions: BLEU, METEOR, ROUGE-L and CIDEr as coco-caption computes them, without Java; how "
        "sure they are, and what the captioner says. Further files are compared with the first. Files of answers to "
        "questions (answers_SPLIT.json of captioning evaluate) hold the right answers and need no references.",
    )
    options.add_argument("results", type=expanded, nargs="+", help='results files, [{"image_id": …, "caption": …}, …]')
    options.add_argument("--references", type=expanded, help="annotations in COCO's format, of the split captioned")
    options.add_argument("--subset", action="store_true", help="score the images that all files have, not the split")
    options.add_argument(
        "--train", type=expanded, help="annotations of the training set: shows the share of captions not in it"
    )
    options.add_argument(
        "--frequencies",
        type=expanded,
        help="annotations to take CIDEr's document frequencies from (default: the references)",
    )
    options.add_argument(
        "--resamples", type=whole(RESAMPLES, 0), default=1000, help="of the bootstrap; 0: none (default: 1000)"
    )
    options.add_argument("--seed", type=whole(SEEDS, 0), default=0, help="of the bootstrap (default: 0)")
    options.add_argument(
        "--metric",
        action="append",
        default=[],
        metavar="MODULE.CLASS",
        help="a metric of your own too: import this class, which runs its module's code; may be repeated",
    )
    options.add_argument(
        "--meteor",
        action=argparse.BooleanOptionalAction,
        help="METEOR too: the default where captioning[java] is installed; needs no Java",
    )
    options.add_argument(
        "--spice", action="store_true", help="SPICE and SPIDEr too (needs Java 8 or 11 and captioning[java])"
    )
    options.add_argument("--java-timeout", type=float, default=1800, metavar="SECONDS", help="(default: 1800)")
    options.add_argument(
        "--tokenizer",
        default=TREEBANK,
        help="treebank, coco-caption's (default); clean, without its brackets and faults; or words, for any language",
    )
    options.add_argument(
        "--sets",
        action="store_true",
        help="the files have several captions an image, as lists or entries, best first: how different the captions of "
        "an image are, and the scores of the first and of the best (the oracle) of each set",
    )
    options.add_argument(
        "--explain",
        action="append",
        default=[],
        metavar="ID",
        help="show what the scores of this image are made of: matching n-grams, and what each adds; may be repeated",
    )
    options.add_argument("--per-image", type=expanded, metavar="CSV", help="write the scores of each image here")
    add_json_option(options, "the scores (from 0 to 1, CIDEr to 10)")
    options.add_argument("--latex", action="store_true", help="print a LaTeX table")
    return options


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Raises:
        CaptioningError: a file is missing, damaged, or of another split.
    """
    args = parse(parser(), argv)
    show_log(logging.WARNING)
    if not args.references:
        if not are_answers(args.results[0]):
            raise UsageError("Captions are scored against references: name their annotations with --references.")
        score_answers(args, short_names(args.results))
        return 0
    keep_memory()
    from captioning.metrics import References
    from captioning.metrics.comparison import compare
    from captioning.metrics.constant import constant, say_constant
    from captioning.metrics.explanation import explain
    from captioning.metrics.results import read_references
    from captioning.metrics.signature import signature
    from captioning.report.table import latex, sentences, table, text, units
    from captioning.text.registry import say_blanks, told

    tokenizer, of_tokens = _tokenizer(args), args.tokenizer
    to_stdout = args.json == STDOUT
    if to_stdout and args.latex:
        raise CaptioningError("--json - and --latex both print: give --json a file, or leave one out.")
    for path in filter(None, (args.per_image, None if to_stdout else args.json)):
        require_output(path)
    training, frequencies = None, None
    if args.frequencies:
        frequencies = References(read_references(args.frequencies, []).sets, tokenizer).frequencies
    if args.sets:
        return score_sets(args, _metrics(args, frequencies, tokenizer), tokenizer, frequencies)
    scored, said, of = _captions(args)
    images = scored.ids
    prepared = References(scored.sets, tokenizer)
    some = prepared.flat[:500]
    if blanks := say_blanks(tokenizer, some, "--tokenizer "):
        log.warning("%s", blanks)
    explained = _explained(args.explain, images)
    if args.train:
        training = read_references(args.train, []).sets.flat
    used = _metrics(args, frequencies, tokenizer)
    fixed = constant(used, prepared)
    reports = compare(
        said,
        prepared,
        metrics=used,
        training=training,
        resamples=args.resamples,
        seed=args.seed,
    )

    misread = _misread(of_tokens, {**said, args.references: prepared.flat})
    made_with = signature(prepared, of_tokens, of=of, frequencies=frequencies is not None)
    if args.per_image:
        _write_per_image(args.per_image, images, said, reports)
    if args.json:
        about = {"images": len(images), "of": of, "signature": made_with, **misread, **told(of_tokens)}
        write_json(args.json, {**about, **_content(reports)})
    if args.latex:
        print(latex(table(reports, of_tokens)))
    elif not to_stdout:
        print(f"{len(images)} of {of} images; {units(reports)}, with 95 % intervals")
        print(text(table(reports, of_tokens)))
        print(*sentences(reports), *filter(None, [say_constant(fixed, len(images))]), made_with, sep="\n")
        for image in explained:
            for name, captioned in said.items():
                print(f"\n{name}, image {image}")
                row = images.row_of(image)
                print(*explain(captioned[row], prepared, row, frequencies), sep="\n")
    return 0


def _captions(args: argparse.Namespace) -> "tuple[ImageCaptions, dict[str, Sequence[str]], int]":
    """The references of the scored images, each file's captions of these images, and the number of the split's images.

    Raises:
        CaptioningError: a file is missing, damaged, or of another split.
    """
    import numpy as np

    from captioning.metrics.image_ids import Ids
    from captioning.metrics.results import check_results, read_references, read_results, with_ids_of

    silent: list[int | str] | None = [] if args.subset else None
    references = read_references(args.references, silent)
    if silent:
        log.warning("%s: %d images have no reference and are left out.", args.references, len(silent))
    captions = {}
    for path, name in short_names(args.results).items():
        left_out = set(silent or ())
        known = Ids.of([*references, *left_out]) if left_out else references.ids
        found = with_ids_of(path, read_results(path), known).all
        captions[name] = found.without(left_out) if left_out else found
        check_results(path, captions[name].ids, references.ids, args.subset)
    everywhere = np.ones(len(references), np.bool_)
    for found in captions.values():
        if not found.ids.same(references.ids):
            everywhere &= found.ids.rows_of(references.ids) >= 0
    scored = references if everywhere.all() else references.take(np.flatnonzero(everywhere))
    if not len(scored):
        raise CaptioningError(f"{', '.join(captions)}: no image has a caption in every one of these. Score them apart.")
    said: dict[str, Sequence[str]] = {
        name: found.in_order_of(scored.ids).sets.first for name, found in captions.items()
    }
    return scored, said, len(references)


def _explained(ids: Sequence[str], images: "Ids") -> list[int | str]:
    """The images of ``--explain``.

    Raises:
        CaptioningError: an image is not among the scored ones.
    """
    named = {str(image): image for image in images} if ids else {}
    for each in ids:
        if each not in named:
            raise CaptioningError(
                f"--explain {printable(each)}: no scored image has this id. Give one of the references."
            )
    return [named[each] for each in ids]


def _tokenizer(args: argparse.Namespace) -> "Tokenizer":
    """The tokenizer of the options.

    Raises:
        CaptioningError: there is none of this name, or it does not go with another option.
    """
    from captioning.text.registry import OF_ENGLISH, find_scoring_tokenizer

    tokenizer = find_scoring_tokenizer(args.tokenizer, "--tokenizer ")
    if tokenizer not in OF_ENGLISH and (args.meteor or args.spice):
        raise CaptioningError(
            f"--tokenizer {args.tokenizer}: METEOR and SPICE know English alone, in coco-caption's tokens. Leave "
            "--meteor and --spice out."
        )
    return tokenizer


def _metrics(
    args: argparse.Namespace, frequencies: "DocumentFrequencies | None", tokenizer: "Tokenizer"
) -> "list[Metric]":
    """coco-caption's metrics, and the metrics of the options."""
    from captioning.core.build import build
    from captioning.metrics import Cider, Meteor, Metric, Spice, coco_metrics, installed_metrics

    bleu, *others = coco_metrics(frequencies)
    meteor: list[Metric] = [Meteor()] if args.meteor else installed_metrics(tokenizer) if args.meteor is None else []
    metrics = [bleu, *meteor, *others]
    if args.metric:
        import_from_working_folder()
        metrics += [build({"_target_": name}, Metric) for name in args.metric]
    if args.spice:
        metrics.append(Spice(args.java_timeout, spider=True, cider=Cider(frequencies)))
    return metrics


def _misread(tokenizer: str, captions: Mapping[str, Sequence[str]]) -> dict[str, dict[str, int]]:
    """The numbers of captions that coco-caption would read wrongly, by file, which are also said."""
    from captioning.text.tokenizer import count_misread

    if tokenizer != TREEBANK:
        return {}
    counts = {name: count for name, each in captions.items() if (count := count_misread(each))}
    for name, count in counts.items():
        log.warning(
            "%s: coco-caption would lose or shift %d of %d captions, for there are line separators in captions; these "
            "scores have each caption at its image.",
            *(name, count, len(captions[name])),
        )
    return {"misread_by_coco_caption": counts} if counts else {}


def short_names(paths: Sequence[str]) -> dict[str, str]:
    """The distinguishing parts of paths: ``a`` and ``b`` for ``runs/a/test.json`` and ``runs/b/test.json``."""
    parts = {path: PurePath(path).parts for path in paths}
    first = next(iter(parts.values()))
    if len(parts) < 2 or any(len(each) != len(first) for each in parts.values()):
        return {path: path for path in parts}
    different = [place for place in range(len(first)) if len({each[place] for each in parts.values()}) > 1]
    return {path: "/".join(each[place] for place in different) for path, each in parts.items()}


def _content(reports: Sequence["Report"]) -> dict[str, Any]:
    """The JSON content of reports: everything but the images' scores."""
    from captioning.metrics.comparison import ByImage
    from captioning.metrics.scores import Scores

    measures = {
        name: {"name": name, "higher_is_better": measure.higher_is_better, "scale": measure.scale}
        for report in reports
        for name, measure in report.measures.items()
    }
    left_out = ("images", "measures")
    without = [replace(report, images=ByImage(Scores((), ()))) for report in reports]  # asdict would copy the scores
    results = [{key: value for key, value in asdict(each).items() if key not in left_out} for each in without]
    return {"measures": list(measures.values()), "results": results}


def _write_per_image(
    path: str, images: Iterable[int | str], captions: Mapping[str, Sequence[str]], reports: Sequence["Report"]
) -> None:
    """Write a line for each file and image, with the caption and its scores."""
    names = list(dict.fromkeys(name for report in reports for name in report.images))
    with output(path) as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["results", "image_id", "caption", *names])
        for report in reports:
            rows = report.images.rows(names) if report.images else ([] for _ in captions[report.name])
            for image, caption, scores in zip(images, captions[report.name], rows, strict=True):
                writer.writerow([report.name, image, caption, *scores])
