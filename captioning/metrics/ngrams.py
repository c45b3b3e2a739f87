"""The n-grams of captions as integers, for the counts of BLEU and CIDEr without tuples or Counters.

Dimensions: C captions, G different n-grams of one to four words, M pairs of a caption and one of its n-grams.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from captioning.text.tokenizer import words_of

ORDERS = 4
Integers = NDArray[np.int64]
Floats = NDArray[np.float64]

_WORD = (1 << 32) - 1  # the lower half of an n-gram's key is its last word; the upper half is the n-gram before it


@dataclass(frozen=True)
class NGramIndex:
    """The different n-grams of captions, numbered by order: words first, then pairs, and so on.

    Attributes:
        words: the number of each word.
        keys: for orders 2 to 4, the sorted keys of the n-grams; a key consists of the number of the n-gram without its
            last word, within that order, and of the number of the last word.
    """

    words: dict[str, int]
    keys: tuple[Integers, ...]

    def __len__(self) -> int:
        """The number of n-grams G."""
        return len(self.words) + sum(len(keys) for keys in self.keys)

    @property
    def order(self) -> Integers:
        """``(G,)``, 0 for single words to 3 for four."""
        return np.repeat(np.arange(ORDERS), [len(self.words), *(len(keys) for keys in self.keys)])

    def locate(self, other: "NGramIndex") -> Integers:
        """``(G,)``: the number of each n-gram in another index, -1 if the other index lacks the n-gram."""
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
    """The counts of n-grams in captions.

    Attributes:
        index: the n-grams.
        lengths: ``(C,)``, the number of words of each caption.
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
        """``(C, 4)``: for each caption and order, the sum of the pairs' values.

        Args:
            values: ``(M,)``, or one value for each of ``pairs``.
            pairs: the numbers of the values' pairs; by default all pairs.
        """
        caption, ngram = (self.caption, self.ngram) if pairs is None else (self.caption[pairs], self.ngram[pairs])
        cell = caption * ORDERS + self.index.order[ngram]
        sums: Floats = np.bincount(cell, values.astype(np.float64), len(self.lengths) * ORDERS).astype(np.float64)
        return sums.reshape(-1, ORDERS)


def count_ngrams(captions: Sequence[Sequence[str]]) -> NGramCounts:
    """Number and count the n-grams of tokenized captions; the pairs are ordered by caption.

    A token with a blank in it, such as "1 1/2", is several words.
    """
    lengths = np.fromiter(map(len, captions), np.int64, len(captions))
    words: defaultdict[str, int] = defaultdict()
    words.default_factory = words.__len__  # a new word gets the next number
    word = np.fromiter(map(words.__getitem__, chain.from_iterable(captions)), np.int64, int(lengths.sum()))
    if any(token.split() != [token] for token in words):
        return count_ngrams([words_of(caption) for caption in captions])
    caption = np.repeat(np.arange(len(captions)), lengths)
    left = np.repeat(np.cumsum(lengths), lengths) - np.arange(len(word))  # words from here to the caption's end

    keys, ngrams, captions_of, offset = [], [word], [caption], len(words)
    number = word  # the number of the n-gram that starts at each position
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
    """The index of each wanted key among sorted keys, -1 for a missing key."""
    if len(keys) == 0:
        return np.full(len(wanted), -1)
    place = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[place] == wanted, place, -1)
