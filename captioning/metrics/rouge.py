"""ROUGE-L as in coco-caption.

Lin, "ROUGE: A Package for Automatic Evaluation of Summaries" (2004), equations 2 to 4, with β = 1.2. coco-caption takes
the maximum of precision and the maximum of recall over the references separately, possibly from different references.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from captioning.metrics.metric import Metric, Pairs
from captioning.metrics.ngrams import Floats
from captioning.text.token_numbers import Integers

BETA = 1.2
_BITS = 63  # places of a candidate's words in a number of numpy


class RougeL(Metric):
    """ROUGE-L, 0 to 1: the mean of the images' ROUGE-L."""

    name = "ROUGE-L"
    by_image = True

    def statistics(self, pairs: Pairs) -> Floats:
        """``(N, 1)``: the ROUGE-L of each image."""
        scores = _of_all(pairs)
        ours, theirs = pairs.candidate_numbers, pairs.prepared.numbers
        first = [*pairs.prepared.first.tolist(), len(theirs)]
        for image in np.flatnonzero(_alone(pairs)).tolist():
            given = [theirs.words(place) for place in range(first[image], first[image + 1])]
            scores[image] = rouge_l(ours.words(image), given)
        return scores[:, None]


def _alone(pairs: Pairs) -> NDArray[np.bool_]:
    """``(N,)``: whether an image is scored by itself: long candidates, no words, tokens that are several words."""
    ours, theirs = pairs.candidate_ngrams.lengths, pairs.prepared.ngrams.counts.lengths
    first = pairs.prepared.first
    tokens, given = pairs.candidate_numbers.lengths, pairs.prepared.numbers.lengths
    odd = np.maximum.reduceat((given != theirs) | (theirs == 0), first)
    alone: NDArray[np.bool_] = odd | (tokens != ours) | (ours == 0) | (ours > _BITS)
    return alone


def _of_all(pairs: Pairs) -> Floats:
    """``(N,)``: the ROUGE-L of each image by its words' numbers, all images at once; wrong where ``_alone`` is true.

    The rows of all tables of common subsequences are computed together, see ``_common_length``.
    """
    prepared, ours = pairs.prepared, pairs.candidate_ngrams
    known = prepared.ngrams.counts
    images = np.repeat(np.arange(len(pairs)), prepared.per_image)  # of each reference
    size = len(known.index.words) + 1
    # For each candidate and each of its words that the references know, the bits of the word's places.
    number = ours.index.locate(known.index)[: len(ours.index.words)][ours.words] if len(ours.words) else ours.words
    candidate = np.repeat(np.arange(len(pairs)), ours.lengths)
    place = np.arange(len(number)) - np.repeat(np.cumsum(ours.lengths) - ours.lengths, ours.lengths)
    kept = (number >= 0) & (place < _BITS)
    key = candidate[kept] * size + number[kept]
    order = np.argsort(key, kind="stable")
    key, bit = key[order], np.left_shift(np.uint64(1), place[kept][order].astype(np.uint64))
    begins = np.flatnonzero(np.diff(key, prepend=-1))
    keys, bits = key[begins], np.bitwise_or.reduceat(bit, begins) if len(bit) else bit
    # The bits of each word of the references.
    lengths = known.lengths
    wanted = np.repeat(images, lengths) * size + known.words
    found = np.minimum(np.searchsorted(keys, wanted), max(len(keys) - 1, 0))
    matching = (
        np.where(keys[found] == wanted, bits[found], np.uint64(0)) if len(keys) else np.zeros(len(wanted), np.uint64)
    )
    # Longer references first: those that have an n-th word are the first ones.
    by_length = np.argsort(-lengths, kind="stable")
    starts = (np.cumsum(lengths) - lengths)[by_length]
    longer = np.searchsorted(-lengths[by_length], -np.arange(int(lengths.max(initial=0))), side="left")
    everywhere = (np.uint64(1) << np.minimum(ours.lengths, _BITS).astype(np.uint64)) - np.uint64(1)
    rows = everywhere[images[by_length]]
    for word, count in enumerate(longer.tolist()):
        row = rows[:count]
        here = row & matching[starts[:count] + word]
        rows[:count] = (row + here) | (row - here)
    common = np.empty(len(lengths))
    whole = everywhere[images[by_length]]
    common[by_length] = _ones(~rows & whole)
    precision = np.maximum.reduceat(common, prepared.first) / np.maximum(ours.lengths, 1)
    recall = np.maximum.reduceat(common / np.maximum(lengths, 1), prepared.first)
    below = recall + BETA**2 * precision
    scores: Floats = np.divide((1 + BETA**2) * precision * recall, below, out=np.zeros_like(below), where=below > 0)
    return scores


def _ones(values: NDArray[np.uint64]) -> Integers:
    """The number of ones among the bits of each value."""
    ones: Integers = np.unpackbits(values.view(np.uint8)).reshape(len(values), 64).sum(1, dtype=np.int64)
    return ones


def rouge_l(candidate: Sequence[str], references: Sequence[Sequence[str]]) -> float:
    """ROUGE-L of one tokenized candidate, 0 to 1.

    A caption without words counts as one empty word, as in coco-caption, and scores 0 against any caption with words.
    """
    candidate = candidate or [""]
    places: dict[str, int] = {}  # for each word, a bit at each of the word's positions
    for place, word in enumerate(candidate):
        places[word] = places.get(word, 0) | 1 << place
    precision = recall = 0.0
    for reference in references:
        length = _common_length(places, len(candidate), reference or [""])
        precision = max(precision, length / len(candidate))
        recall = max(recall, length / max(len(reference), 1))
    if precision == 0:
        return 0.0
    return (1 + BETA**2) * precision * recall / (recall + BETA**2 * precision)


def common_subsequence(first: Sequence[str], second: Sequence[str]) -> list[str]:
    """A longest common subsequence of tokens, by the plain table."""
    table = [[0] * (len(second) + 1) for _ in range(len(first) + 1)]
    for i, one in reversed([*enumerate(first)]):
        for j, other in reversed([*enumerate(second)]):
            table[i][j] = 1 + table[i + 1][j + 1] if one == other else max(table[i + 1][j], table[i][j + 1])
    found, i, j = [], 0, 0
    while i < len(first) and j < len(second):
        if first[i] == second[j]:
            found.append(first[i])
            i, j = i + 1, j + 1
        elif table[i + 1][j] >= table[i][j + 1]:
            i += 1
        else:
            j += 1
    return found


def _common_length(places: dict[str, int], length: int, other: Sequence[str]) -> int:
    """The length of the longest common subsequence; the bits of an integer hold a row of the table.

    Hyyrö, "Bit-Parallel LCS-length Computation Revisited" (2004), equation 3: a bit is 0 where the row's value rises.
    """
    everywhere = (1 << length) - 1
    row = everywhere
    for here in map(places.get, other):
        if here is not None:
            matches = row & here
            row = (row + matches) | (row - matches)
    return length - (row & everywhere).bit_count()
