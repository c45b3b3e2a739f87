"""The n-grams of captions as integers: what BLEU and CIDEr count, without a tuple or a Counter.

Dimensions: C captions, G different n-grams of one to four words, M pairs of a caption and an n-gram in it.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
from numpy.typing import NDArray

ORDERS = 4
Integers = NDArray[np.int64]
Floats = NDArray[np.float64]

_WORD = (1 << 32) - 1  # the lower half of an n-gram's key: its last word; the upper half: the n-gram before that word


@dataclass(frozen=True)
class NGramIndex:
    """The different n-grams of some captions, numbered: first the words, then the pairs, and so on.

    Attributes:
        words: the number of each word.
        keys: for orders 2 to 4, the sorted keys of the n-grams; a key is made of the number, within its order, of the
            n-gram without its last word, and of the number of that word.
    """

    words: dict[str, int]
    keys: tuple[Integers, ...]

    def __len__(self) -> int:
        """G."""
        return len(self.words) + sum(len(keys) for keys in self.keys)

    @property
    def order(self) -> Integers:
        """``(G,)``, 0 for single words to 3 for four."""
        return np.repeat(np.arange(ORDERS), [len(self.words), *(len(keys) for keys in self.keys)])

    def locate(self, other: "NGramIndex") -> Integers:
        """``(G,)``: the number that each n-gram has in another index, -1 where it is not in it."""
        word = np.fromiter((other.words.get(word, -1) for word in self.words), np.int64, len(self.words))
        found, before, offset = [word], word, len(other.words)
        for keys, others in zip(self.keys, other.keys, strict=True):
            prefix, last = before[keys >> 32], word[keys & _WORD]
            before = np.where((prefix >= 0) & (last >= 0), _find(others, (prefix << 32) | last), -1)
            found.append(np.where(before >= 0, before + offset, -1))
            offset += len(others)
        return np.concatenate(found)


@dataclass(frozen=True)
class NGramCounts:
    """How often each n-gram occurs in each caption.

    Attributes:
        index: the n-grams.
        lengths: ``(C,)`` words of each caption.
        caption: ``(M,)`` the number of each pair's caption.
        ngram: ``(M,)`` the number of each pair's n-gram, rising within a caption.
        count: ``(M,)``, 1 or more.
    """

    index: NGramIndex
    lengths: Integers
    caption: Integers
    ngram: Integers
    count: Integers

    def sums(self, values: Floats | Integers, pairs: Integers | None = None) -> Floats:
        """``(C, 4)``: for each caption and order, the sum of values that belong to pairs.

        Args:
            values: ``(M,)``, or one for each of ``pairs``.
            pairs: the numbers of the pairs that the values belong to, where they are not all.
        """
        caption, ngram = (self.caption, self.ngram) if pairs is None else (self.caption[pairs], self.ngram[pairs])
        cell = caption * ORDERS + self.index.order[ngram]
        sums: Floats = np.bincount(cell, values.astype(np.float64), len(self.lengths) * ORDERS).astype(np.float64)
        return sums.reshape(-1, ORDERS)


def count_ngrams(captions: Sequence[Sequence[str]]) -> NGramCounts:
    """Number and count the n-grams of tokenized captions; captions rise from pair to pair."""
    lengths = np.fromiter(map(len, captions), np.int64, len(captions))
    words: defaultdict[str, int] = defaultdict()
    words.default_factory = words.__len__  # a new word takes the next number
    word = np.fromiter(map(words.__getitem__, chain.from_iterable(captions)), np.int64, int(lengths.sum()))
    caption = np.repeat(np.arange(len(captions)), lengths)
    left = np.repeat(np.cumsum(lengths), lengths) - np.arange(len(word))  # words from here to the caption's end

    keys, ngrams, captions_of, offset = [], [word], [caption], len(words)
    number = word  # of the n-gram that starts at each place
    for n in range(2, ORDERS + 1):
        starts = np.flatnonzero(left >= n)
        unique, inverse = np.unique((number[starts] << 32) | word[starts + n - 1], return_inverse=True)
        number = np.full_like(word, -1)
        number[starts] = inverse
        keys.append(unique)
        ngrams.append(inverse + offset)
        captions_of.append(caption[starts])
        offset += len(unique)

    total = max(offset, 1)
    pairs, count = np.unique(np.concatenate(captions_of) * total + np.concatenate(ngrams), return_counts=True)
    return NGramCounts(NGramIndex(dict(words), tuple(keys)), lengths, pairs // total, pairs % total, count)


def _find(keys: Integers, wanted: Integers) -> Integers:
    """The place of each wanted key among sorted ones, -1 where it is not there."""
    if len(keys) == 0:
        return np.full(len(wanted), -1)
    place = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[place] == wanted, place, -1)
