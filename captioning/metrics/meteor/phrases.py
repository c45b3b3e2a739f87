"""The phrases of captions that METEOR's table of paraphrases knows, and which of them are paraphrases of one another.

Dimensions: C captions, T words of all captions.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from captioning.metrics.meteor.tables import LONGEST, Tables
from captioning.text.token_numbers import Integers

Phrase = tuple[int, int, int]  # the first word, the number of words, the node


@dataclass(frozen=True)
class Phrases:
    """The phrases of captions.

    Attributes:
        of: the phrases of each caption that have a paraphrase or are one, by first word and then by length.
        paraphrases: for each node, its paraphrases among the captions' phrases, each with its rank in the table.
    """

    of: list[list[Phrase]]
    paraphrases: dict[int, dict[int, int]]


def find_phrases(captions: Sequence[Sequence[int]], in_tables: Integers, tables: Tables) -> Phrases:
    """Find the phrases of captions.

    Args:
        captions: the words of C captions, by their numbers in a vocabulary.
        in_tables: the number of each word of the vocabulary in the tables, -1 for an unknown word.
        tables: the tables.
    """
    lengths = np.fromiter(map(len, captions), np.int64, len(captions))
    total = int(lengths.sum())
    words = in_tables[np.fromiter((word for caption in captions for word in caption), np.int64, total)]  # (T,)
    caption = np.repeat(np.arange(len(captions)), lengths)
    first = np.arange(total) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    left = lengths[caption] - first

    place = np.flatnonzero(words >= 0)
    node, found = words[place], []
    for length in range(1, LONGEST + 1):
        if length > 1:
            fits = left[place] >= length
            place, node = place[fits], node[fits]
            node = tables.longer(length, node, words[place + length - 1])
            place, node = place[node >= 0], node[node >= 0]
        found.append(np.stack([caption[place], first[place], np.full_like(place, length), node], axis=1))
    phrases = np.concatenate(found)
    pairs = _paraphrases(np.unique(phrases[:, 3]), tables)

    phrases = phrases[np.isin(phrases[:, 3], pairs[:, :2])]
    phrases = phrases[np.lexsort((phrases[:, 2], phrases[:, 1], phrases[:, 0]))]
    of: list[list[Phrase]] = [[] for _ in captions]
    for number, *phrase in phrases.tolist():
        of[number].append((phrase[0], phrase[1], phrase[2]))
    paraphrases: dict[int, dict[int, int]] = defaultdict(dict)
    for node, paraphrase, rank in pairs.tolist():
        paraphrases[node][paraphrase] = rank
    return Phrases(of, dict(paraphrases))


def _paraphrases(nodes: Integers, tables: Tables) -> Integers:
    """``(…, 3)``: pairs of two of some nodes, a phrase and its paraphrase, and the pair's place in the table."""
    start, stop = (tables.paraphrases_start[nodes + more].astype(np.int64) for more in (0, 1))
    times = stop - start
    rank = np.repeat(start - (np.cumsum(times) - times), times) + np.arange(times.sum())
    paraphrase = tables.paraphrases[rank].astype(np.int64)
    there = np.zeros(len(tables.paraphrases_start), dtype=bool)
    there[nodes] = True
    kept = there[paraphrase]
    return np.stack([np.repeat(nodes, times)[kept], paraphrase[kept], rank[kept]], axis=1)
