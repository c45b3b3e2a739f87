"""ROUGE-L as in coco-caption.

Lin, "ROUGE: A Package for Automatic Evaluation of Summaries" (2004), equations 2 to 4, with β = 1.2. coco-caption takes
the maximum of precision and the maximum of recall over the references separately, possibly from different references.
"""

from collections.abc import Sequence

import numpy as np

from captioning.metrics.metric import Metric, Pairs
from captioning.metrics.ngrams import Floats

BETA = 1.2


class RougeL(Metric):
    """ROUGE-L, 0 to 1: the mean of the images' ROUGE-L."""

    name = "ROUGE-L"

    def statistics(self, pairs: Pairs) -> Floats:
        """``(N, 1)``: the ROUGE-L of each image."""
        both = zip(pairs.candidate_tokens, pairs.reference_tokens, strict=True)
        return np.array([rouge_l(*pair) for pair in both])[:, None]


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
