"""ROUGE-L as in coco-caption.

Lin, "ROUGE: A Package for Automatic Evaluation of Summaries" (2004), equations 2 to 4, with β = 1.2. coco-caption takes
the maximum of precision and the maximum of recall over the references separately, possibly from different references.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from captioning.metrics.metric import Metric, Pairs
from captioning.metrics.ngrams import Floats
from captioning.text.token_numbers import Integers, spans

BETA = 1.2
_BITS = 63  # places of a candidate's words in a number of numpy
_ONES = np.unpackbits(np.arange(256, dtype=np.uint8)).reshape(256, 8).sum(1)  # of each byte


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
    lengths = known.lengths
    matching = _matching(pairs)
    # The words of each reference that the candidate has; the others change no row.
    hits = np.flatnonzero(matching)
    per_reference = np.bincount(known.caption_of_words[hits], minlength=len(lengths))
    # References with more such words first: those that have an n-th one are the first ones.
    by_hits = np.argsort(-per_reference, kind="stable")
    starts = (np.cumsum(per_reference) - per_reference)[by_hits]
    more = np.searchsorted(-per_reference[by_hits], -np.arange(int(per_reference.max(initial=0))), side="left")
    everywhere = (np.uint64(1) << np.minimum(ours.lengths, _BITS).astype(np.uint64)) - np.uint64(1)
    whole = np.repeat(everywhere, prepared.per_image)[by_hits]
    rows: NDArray[np.uint64] = whole.copy()
    bits = matching[hits]
    for word, count in enumerate(more.tolist()):
        row = rows[:count]
        here = row & bits[starts[:count] + word]
        rows[:count] = (row + here) | (row - here)
    common = np.empty(len(lengths))
    common[by_hits] = _ones(~rows & whole)
    precision = np.maximum.reduceat(common, prepared.first) / np.maximum(ours.lengths, 1)
    recall = np.maximum.reduceat(common / np.maximum(lengths, 1), prepared.first)
    below = recall + BETA**2 * precision
    scores: Floats = np.divide((1 + BETA**2) * precision * recall, below, out=np.zeros_like(below), where=below > 0)
    return scores


def _matching(pairs: Pairs) -> NDArray[np.uint64]:
    """For each word of all references, the bits of the places at which the image's candidate has the word."""
    ours, known, match = pairs.candidate_ngrams, pairs.prepared.ngrams.counts, pairs.match
    matching = np.zeros(len(known.words), np.uint64)
    single = slice(int(np.searchsorted(match.pairs, ours.singles)))
    pair, times = match.pairs[single], match.times[single]
    # The bits of each single word of the candidates: the places of a pair follow one another.
    place = ours.places - np.repeat(np.cumsum(ours.lengths) - ours.lengths, ours.lengths)[ours.places]
    begin = np.cumsum(ours.count[: ours.singles]) - ours.count[: ours.singles]
    bit = np.left_shift(np.uint64(1), place.astype(np.uint64))
    bits = np.bitwise_or.reduceat(bit, begin)[pair] if len(bit) else bit
    # The places of the same word in the references of the image.
    entry = match.entries[: int(times.sum())]
    count = known.count[: known.singles]
    places = known.places[spans((np.cumsum(count) - count)[entry], count[entry])]
    matching[places] = np.repeat(np.repeat(bits, times), count[entry])
    return matching


def _ones(values: NDArray[np.uint64]) -> Integers:
    """The number of ones among the bits of each value."""
    ones: Integers = _ONES[values.view(np.uint8)].reshape(len(values), 8).sum(1)
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
