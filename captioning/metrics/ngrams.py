"""The n-grams of captions as integers, for the counts of BLEU and CIDEr without tuples or Counters.

Dimensions: C captions, G different n-grams of one to four words, M pairs of a caption and one of its n-grams.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain

import numpy as np
from numpy.typing import NDArray

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

    @cached_property
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
        ngram: ``(M,)`` the number of each pair's n-gram, rising; its captions rise, too.
        count: ``(M,)``, 1 or more.
        words: the numbers of the words of all captions, one after the other.
    """

    index: NGramIndex
    lengths: Integers
    caption: Integers
    ngram: Integers
    count: Integers
    words: Integers

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
    """Number and count the n-grams of tokenized captions; the pairs are ordered by n-gram, then by caption.

    A token with a blank in it, such as "1 1/2", is several words.
    """
    lengths = np.fromiter(map(len, captions), np.int64, len(captions))
    words: defaultdict[str, int] = defaultdict()
    words.default_factory = words.__len__  # a new word gets the next number
    word = np.fromiter(map(words.__getitem__, chain.from_iterable(captions)), np.int64, int(lengths.sum()))
    several = {number: token.split() for token, number in words.items() if token.split() != [token]}
    if several:
        words, word, lengths = _apart(several, words, word, lengths)
    caption = np.repeat(np.arange(len(captions)), lengths)
    left = np.repeat(np.cumsum(lengths), lengths) - np.arange(len(word))  # words from here to the caption's end
    number = np.zeros_like(word)  # of the n-gram that starts at each position, among those of its order
    keys, ngrams, captions_of, counts, offset = [], [], [], [], 0
    for n in range(1, ORDERS + 1):
        starts = np.flatnonzero(left >= n)
        key, by_key = _sorted(number[starts] * len(words) + word[starts + n - 1])
        starts = starts[by_key]
        new = np.diff(key, prepend=-1) != 0
        number[starts] = np.cumsum(new) - 1
        of_caption = caption[starts]
        first = np.flatnonzero(new | (np.diff(of_caption, prepend=-1) != 0))  # of each pair's positions
        unique = key[new]
        keys.append((unique // len(words) << 32) | unique % len(words))
        ngrams.append(number[starts[first]] + offset)
        captions_of.append(of_caption[first])
        counts.append(np.diff(first, append=len(starts)))
        offset += len(unique)
    index = NGramIndex(dict(words), tuple(keys[1:]))
    together = np.concatenate
    return NGramCounts(index, lengths, together(captions_of), together(ngrams), together(counts), word)


def _apart(
    several: dict[int, list[str]], words: defaultdict[str, int], word: Integers, lengths: Integers
) -> tuple[defaultdict[str, int], Integers, Integers]:
    """Words, their numbers and captions' lengths after tokens of several words (or none) are taken apart.

    Args:
        several: the words of such tokens, by the tokens' numbers.
        words: the number of each token.
        word: the tokens of all captions.
        lengths: ``(C,)``, the number of tokens of each caption.
    """
    apart = {number: [words[each] for each in tokens] for number, tokens in several.items()}
    times = np.ones(len(word), dtype=np.int64)
    at = np.flatnonzero(np.isin(word, list(apart)))
    times[at] = [len(apart[number]) for number in word[at].tolist()]
    begins = np.cumsum(times) - times
    taken = np.repeat(word, times)
    for place, number in zip(begins[at].tolist(), word[at].tolist(), strict=True):
        taken[place : place + len(apart[number])] = apart[number]
    caption = np.repeat(np.repeat(np.arange(len(lengths)), lengths), times)
    tokens = [token for token, number in words.items() if number not in apart]
    renumbered = np.zeros(len(words), dtype=np.int64)
    renumbered[[words[token] for token in tokens]] = np.arange(len(tokens))
    left = defaultdict(int, zip(tokens, range(len(tokens)), strict=True))
    return left, renumbered[taken], np.bincount(caption, minlength=len(lengths))


def _sorted(keys: Integers) -> tuple[Integers, Integers]:
    """The sorted keys, from 0 on, and their stable order; numpy sorts numbers faster than it finds their order."""
    bits = len(keys).bit_length()
    if int(keys.max(initial=0)).bit_length() + bits > 63:
        order = np.argsort(keys, kind="stable")
        return keys[order], order
    packed = (keys << bits) | np.arange(len(keys))
    packed.sort()
    return packed >> bits, packed & ((1 << bits) - 1)


def _find(keys: Integers, wanted: Integers) -> Integers:
    """The index of each wanted key among sorted keys, -1 for a missing key."""
    if len(keys) == 0:
        return np.full(len(wanted), -1)
    place = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[place] == wanted, place, -1)
