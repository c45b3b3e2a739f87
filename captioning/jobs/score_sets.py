"""``captioning score --sets``: the scores of sets of captions of an image, such as the n best or samples."""

import argparse
import logging
from dataclasses import asdict
from typing import TYPE_CHECKING

from captioning.core.errors import CaptioningError
from captioning.jobs.options import STDOUT, write_json

if TYPE_CHECKING:
    from captioning.metrics import DocumentFrequencies, Metric
    from captioning.text.registry import Tokenizer

log = logging.getLogger(__name__)

_ELSEWHERE = ("train", "metric", "explain", "per_image", "latex", "spice")
_NAMES = {"div_1": "Div-1", "div_2": "Div-2", "mbleu_4": "mBLEU-4", "self_cider": "self-CIDEr"}


def score_sets(
    args: argparse.Namespace,
    metrics: "list[Metric]",
    tokenizer: "Tokenizer",
    frequencies: "DocumentFrequencies | None",
) -> int:
    """Print how different the captions of an image are, and the scores of the first and of the best of each set.

    Args:
        args: the options of ``captioning score``.
        metrics: the metrics.
        tokenizer: the tokenizer.
        frequencies: fixed document frequencies; by default those of the references.

    Raises:
        CaptioningError: an option does not go with ``--sets``, or an image has fewer than two captions.
    """
    from captioning.metrics import Pairs, References, Scores
    from captioning.metrics.results import check_results, read_references, read_sets, with_ids_of
    from captioning.metrics.sets import oracle, set_diversity
    from captioning.metrics.signature import signature
    from captioning.text.registry import told

    wrong = [name for name in _ELSEWHERE if getattr(args, name)]
    if wrong:
        raise CaptioningError(f"--sets does not go with --{wrong[0].replace('_', '-')}. Leave one of them out.")
    references = read_references(args.references, [] if args.subset else None)
    found = []
    for path in args.results:
        sets = with_ids_of(path, read_sets(path), references.ids)
        check_results(path, sets.ids, references.ids, args.subset)
        images = [image for image in references if image in sets]
        captions = [sets[image] for image in images]
        prepared = References([references[image] for image in images], tokenizer)
        first = Scores.of(metrics, Pairs(prepared, [each[0] for each in captions]))
        best = oracle(metrics, captions, prepared)
        diversity = set_diversity(captions, frequencies or prepared.frequencies, tokenizer)
        counts = sorted(map(len, captions))
        # The mean over images, as of the best: BLEU of a corpus is no mean.
        means = {name: float(values.mean()) for name, values in first.images().items()}
        found.append(
            {
                "name": path,
                "images": len(images),
                "captions": counts[0] if counts[0] == counts[-1] else f"{counts[0]}-{counts[-1]}",
                "diversity": asdict(diversity),
                "first": means,
                "best": best,
                "signature": signature(
                    prepared, args.tokenizer, of=len(references), frequencies=frequencies is not None
                ),
            }
        )
        if args.json == STDOUT:
            continue
        print(f"{path}: {len(images)} images, {found[-1]['captions']} captions each")
        for key, value in asdict(diversity).items():
            print(f"  {_NAMES[key]:<12}{value:8.4f}")
        print(f"  {'':<12}{'first':>8}{'best':>8}   means of the images' scores")
        for name, measure in first.measures.items():
            print(f"  {name:<12}{measure.text(means[name]):>8}{measure.text(best[name]):>8}")
        print(found[-1]["signature"])
    if args.json:
        write_json(args.json, {"results": found, **told(args.tokenizer)})
    return 0
