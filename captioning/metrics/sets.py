"""Scores of sets of captions of an image, such as samples or the n best of a search: how different, and how good.

Dimensions: N images, C captions of all images.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from captioning.core.errors import CaptioningError
from captioning.metrics.bleu import Bleu
from captioning.metrics.cider import CiderD
from captioning.metrics.frequencies import DocumentFrequencies
from captioning.metrics.metric import Metric, Pairs
from captioning.metrics.ngrams import Floats
from captioning.metrics.references import References
from captioning.metrics.scores import Scores
from captioning.text.registry import Tokenizer
from captioning.text.tokenizer import tokenize_coco


@dataclass(frozen=True)
class SetDiversity:
    """The mean diversity of the sets of captions of images, each number 0 to 1.

    Attributes:
        div_1: different words over all words of a set: Li et al., "A Diversity-Promoting Objective Function for Neural
            Conversation Models" (NAACL 2016), as Shetty et al., "Speaking the Same Language" (ICCV 2017), use it for
            the captions of an image. Higher is more diverse.
        div_2: the same of pairs of words.
        mbleu_4: the mean BLEU-4 of each caption against the other captions of the set. Lower is more diverse.
        self_cider: Wang & Chan, "Describing like Humans" (CVPR 2019), see ``self_cider``. Higher is more diverse.
    """

    div_1: float
    div_2: float
    mbleu_4: float
    self_cider: float


def set_diversity(
    sets: Sequence[Sequence[str]],
    frequencies: DocumentFrequencies | None = None,
    tokenizer: Tokenizer = tokenize_coco,
) -> SetDiversity:
    """Compute the diversity of sets of captions.

    Args:
        sets: two or more captions of each of N images.
        frequencies: document frequencies for self-CIDEr, such as those of the references; by default the sets' own.
        tokenizer: the tokenizer; by default coco-caption's.

    Raises:
        CaptioningError: there is no image, or an image has fewer than two captions.
    """
    _require(sets, 2)
    prepared = References(sets, tokenizer)
    div = np.array([[_distinct(tokens, n) for n in (1, 2)] for tokens in prepared.tokens]).mean(0)
    others = [[*captions[:own], *captions[own + 1 :]] for captions in sets for own in range(len(captions))]
    pairs = Pairs(References(others, tokenizer), [caption for captions in sets for caption in captions])
    counts = Scores.of([Bleu()], pairs)
    return SetDiversity(
        div_1=float(div[0]),
        div_2=float(div[1]),
        mbleu_4=float(counts.images()["BLEU-4"].mean()),
        self_cider=float(self_cider(prepared, frequencies).mean()),
    )


def self_cider(sets: References, frequencies: DocumentFrequencies | None = None) -> Floats:
    """``(N,)``: self-CIDEr of each image's set: 0 if all captions are the same, 1 if no two have a word in common.

    With the captions' similarities K by CIDEr-D (over 10) and the singular values s of K's root, that is
    ``-log(s_max / Σ s) / log(number of captions)``: Wang & Chan (CVPR 2019), section 3.2.
    """
    texts = [caption for captions in sets.texts for caption in captions]
    values = np.zeros(len(sets))
    rows = [(own, other) for n in range(len(sets)) for own in _range(sets, n) for other in _range(sets, n)]
    pairwise = CiderD(References([[caption] for caption in texts], sets.tokenizer), frequencies or sets.frequencies)
    found = pairwise([texts[own] for own, _ in rows], [other for _, other in rows]) / 10
    place = 0
    for image in range(len(sets)):
        count = int(sets.per_image[image])
        similar = found[place : place + count * count].reshape(count, count)
        place += count * count
        roots = np.sqrt(np.clip(np.linalg.eigvalsh((similar + similar.T) / 2), 0, None))
        total = roots.sum()
        values[image] = -np.log(roots.max() / total) / np.log(count) if total > 0 and count > 1 else 0.0
    return values


def oracle(
    metrics: Sequence[Metric], sets: Sequence[Sequence[str]], references: References | Sequence[Sequence[str]]
) -> dict[str, float]:
    """The mean score of the best caption of each set, by measure name: what a perfect reranking would reach.

    Each measure chooses for itself, by the images' own scores (CIDEr with the document frequencies of ``references``).

    Args:
        metrics: the metrics.
        sets: one or more captions of each of N images.
        references: the references of the same images.

    Raises:
        CaptioningError: an image has no caption, or numbers of images differ.
    """
    _require(sets, 1)
    prepared = references if isinstance(references, References) else References(references)
    if len(sets) != len(prepared):
        raise CaptioningError(f"There are sets of captions of {len(sets)} images, and references of {len(prepared)}.")
    most = max(map(len, sets))
    best: dict[str, Floats] = {}
    for place in range(most):  # a shorter set repeats its first caption
        said = [captions[place] if place < len(captions) else captions[0] for captions in sets]
        scores = Scores.of(metrics, Pairs(prepared, said))
        for name, values in scores.images().items():
            better = np.maximum if scores.measures[name].higher_is_better else np.minimum
            best[name] = better(best[name], values) if name in best else values
    return {name: float(values.mean()) for name, values in best.items()}


def _require(sets: Sequence[Sequence[str]], least: int) -> None:
    short = [image for image, captions in enumerate(sets) if len(captions) < least]
    if short or not sets:
        raise CaptioningError(
            f"{len(short)} of {len(sets)} images have fewer than {least} captions (the first: number "
            f"{short[0] if short else '-'}). Give sets of captions, such as those of --n-best."
        )


def _distinct(captions: Sequence[Sequence[str]], n: int) -> float:
    """The share of different n-grams among all words of captions."""
    ngrams = [tuple(words[place : place + n]) for words in captions for place in range(len(words) - n + 1)]
    return len(set(ngrams)) / max(sum(map(len, captions)), 1)


def _range(sets: References, image: int) -> range:
    first = int(sets.first[image])
    return range(first, first + int(sets.per_image[image]))
