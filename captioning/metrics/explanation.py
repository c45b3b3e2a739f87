"""What the scores of one image are made of: the n-grams that matched, and what each adds."""

from collections.abc import Sequence

import numpy as np

from captioning.metrics.bleu import Bleu
from captioning.metrics.cider import CiderD
from captioning.metrics.frequencies import DocumentFrequencies
from captioning.metrics.meteor.metric import Meteor, align_best
from captioning.metrics.meteor.tables import installed
from captioning.metrics.metric import Pairs
from captioning.metrics.ngrams import ORDERS, NGramIndex
from captioning.metrics.references import References
from captioning.metrics.rouge import BETA, RougeL, common_subsequence, rouge_l
from captioning.text.registry import OF_ENGLISH

_KINDS = ("the same", "stem", "synonym", "paraphrase")


def explain(
    caption: str, references: References, image: int, frequencies: DocumentFrequencies | None = None
) -> list[str]:
    """Lines about the scores of one image's caption.

    Args:
        caption: the caption as written.
        references: the references of a whole split: CIDEr's document frequencies are of all of them.
        image: the image's number among the references.
        frequencies: fixed document frequencies for CIDEr; by default those of the references.
    """
    texts = list(references.texts[image])
    pairs = Pairs(References([texts], references.tokenizer), [caption])
    tokens, reference_tokens = pairs.candidate_tokens[0], pairs.reference_tokens[0]
    lines = [f"caption: {' '.join(tokens)}"]
    lines += [f"reference {number}: {' '.join(each)}" for number, each in enumerate(reference_tokens, start=1)]
    lines += ["", *_of_ngrams(pairs, CiderD(references, frequencies), image)]
    lines += ["", *_of_bleu(pairs), *_of_rouge(tokens, reference_tokens)]
    if references.tokenizer in OF_ENGLISH and installed():
        lines += _of_meteor(pairs)
    return lines


def _of_ngrams(pairs: Pairs, cider: CiderD, image: int) -> list[str]:
    """A line for each n-gram of the caption: its clipped count, its references, and its part of CIDEr."""
    counts = pairs.candidate_ngrams
    images = np.array([image])
    match = cider.references.ngrams.match(counts, images)
    pair, part = cider.parts(counts, images, match)
    added = np.bincount(pair, part, len(counts.ngram)) if len(pair) else np.zeros(len(counts.ngram))
    clipped = dict(zip(pairs.match.pairs.tolist(), pairs.match.clipped.tolist(), strict=True))
    written = words_of_ngrams(counts.index)
    given = [{tuple(each[p : p + n]) for n in range(1, ORDERS + 1) for p in range(len(each))} for each in _words(pairs)]
    rows = []
    for place, (number, count) in enumerate(zip(counts.ngram.tolist(), counts.count.tolist(), strict=True)):
        words = written[number]
        there = [str(reference) for reference, ngrams in enumerate(given, start=1) if words in ngrams]
        rows.append(
            (" ".join(words), f"{clipped.get(place, 0)}/{count}", ", ".join(there) or "-", f"{added[place]:.4f}")
        )
    rows.insert(0, ("n-gram", "matched", "in references", "adds to CIDEr"))
    rows.append(("CIDEr", "", "", f"{added.sum():.4f}"))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in rows]


def _words(pairs: Pairs) -> list[list[str]]:
    return [" ".join(each).split() for each in pairs.reference_tokens[0]]


def words_of_ngrams(index: NGramIndex) -> list[tuple[str, ...]]:
    """The words of each n-gram of an index."""
    words = list(index.words)
    order: list[tuple[str, ...]] = [(word,) for word in words]
    found = list(order)
    for keys in index.keys:
        order = [(*order[key >> 32], words[key & 0xFFFFFFFF]) for key in keys.tolist()]
        found += order
    return found


def _of_bleu(pairs: Pairs) -> list[str]:
    metric = Bleu()
    statistics = np.asarray(metric.statistics(pairs))[0]
    values = np.asarray(metric.score(statistics[None], np.ones(1)))[0]
    *counts, length, closest = statistics.astype(int).tolist()
    lines = []
    for n, value in enumerate(values.tolist(), start=1):
        fractions = " · ".join(f"{counts[k]}/{counts[ORDERS + k]}" for k in range(n))
        lines.append(f"BLEU-{n}  {value:.4f}  the root of order {n} of {fractions}")
    lines[-1] += f"; {length} words against {closest}"
    return lines


def _of_rouge(tokens: Sequence[str], references: Sequence[Sequence[str]]) -> list[str]:
    common = [common_subsequence(tokens, each) for each in references]
    precise = max(range(len(common)), key=lambda place: len(common[place]))
    recalled = max(range(len(common)), key=lambda place: len(common[place]) / max(len(references[place]), 1))
    precision, recall = (
        f'{len(common[place])}/{of} ("{" ".join(common[place])}", reference {place + 1})'
        for place, of in ((precise, len(tokens)), (recalled, len(references[recalled])))
    )
    score = rouge_l(tokens, references)
    return [f"{RougeL.name}  {score:.4f}  precision {precision}, recall {recall}, beta {BETA}"]


def _of_meteor(pairs: Pairs) -> list[str]:
    metric = Meteor()
    score = float(metric.score(metric.statistics(pairs), np.ones(1))[0, 0])
    best, matches = align_best(pairs.candidate_tokens[0], pairs.reference_tokens[0])
    pieces = [
        said if kind == 0 and said == given else f"{said} = {given} ({_KINDS[kind]})" for said, given, kind in matches
    ]
    return [f"{metric.name}  {score:.4f}  reference {best + 1}: {', '.join(pieces) or 'no match'}"]
