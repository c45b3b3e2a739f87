"""The n-grams of captions as integers, for the counts of BLEU and CIDEr without tuples or Counters.

Dimensions: C captions, G different n-grams of one to four words, M pairs of a caption and one of its n-grams.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from captioning.text.token_numbers import TokenNumbers

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
    _last: "list[tuple[NGramIndex, Integers]]" = field(default_factory=list, init=False, repr=False, compare=False)

    def __len__(self) -> int:
        """The number of n-grams G."""
        return len(self.words) + sum(len(keys) for keys in self.keys)

    @cached_property
    def order(self) -> Integers:
        """``(G,)``, 0 for single words to 3 for four."""
        return np.repeat(np.arange(ORDERS), [len(self.words), *(len(keys) for keys in self.keys)])

    def locate(self, other: "NGramIndex") -> Integers:
        """``(G,)``: the number of each n-gram in another index, -1 if the other index lacks the n-gram.

        BLEU, ROUGE-L and CIDEr ask for the same numbers: those of the last other index are kept.
        """
        if not self._last or self._last[0][0] is not other:
            self._last[:] = [(other, self._find_in(other))]
        return self._last[0][1]

    def _find_in(self, other: "NGramIndex") -> Integers:
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
            pairs: the numbers of the values' pairs, rising; by default all pairs.
        """
        caption, ngram = (self.caption, self.ngram) if pairs is None else (self.caption[pairs], self.ngram[pairs])
        ends = np.cumsum([len(self.index.words), *map(len, self.index.keys)])
        begins = [0, *np.searchsorted(ngram, ends).tolist()]
        values = values.astype(np.float64)
        sums = np.empty((len(self.lengths), ORDERS))
        for order, (begin, end) in enumerate(pairwise(begins)):
            sums[:, order] = np.bincount(caption[begin:end], values[begin:end], len(self.lengths))
        return sums


def count_ngrams(captions: TokenNumbers | Sequence[Sequence[str]]) -> NGramCounts:
    """Number and count the n-grams of tokenized captions; the pairs are ordered by n-gram, then by caption.

    A token with a blank in it, such as "1 1/2", is several words.
    """
    numbered = _words_of(captions if isinstance(captions, TokenNumbers) else TokenNumbers.of(captions))
    word, lengths, size = numbered.number, numbered.lengths, len(numbered.tokens)
    caption = numbered.caption
    left = np.repeat(np.cumsum(lengths), lengths) - np.arange(len(word))  # words from here to the caption's end
    by_word = stable_order(word, size)
    number = np.zeros_like(word)  # of the n-gram that starts at each position, among those of its order
    keys, ngrams, captions_of, counts, offset, different = [], [], [], [], 0, 1
    for n in range(1, ORDERS + 1):
        # The positions of n-grams, by the last word, then by the n-gram before it, then by the position.
        starts = by_word[by_word >= n - 1] - (n - 1)
        starts = starts[left[starts] >= n]
        starts = starts[stable_order(number[starts], different)]
        key = (number[starts] << 32) | word[starts + n - 1]
        new = np.diff(key, prepend=-1) != 0
        unique = key[new]
        number[starts] = np.cumsum(new) - 1
        of_caption = caption[starts]
        first = np.flatnonzero(new | (np.diff(of_caption, prepend=-1) != 0))  # of each pair's positions
        keys.append(unique)
        ngrams.append(number[starts[first]] + offset)
        captions_of.append(of_caption[first])
        counts.append(np.diff(first, append=len(starts)))
        different = len(unique)
        offset += different
    words = dict(zip(numbered.tokens, range(size), strict=True))
    together = np.concatenate
    index = NGramIndex(words, tuple(keys[1:]))
    return NGramCounts(index, lengths, together(captions_of), together(ngrams), together(counts), word)


def _words_of(captions: TokenNumbers) -> TokenNumbers:
    """Captions with tokens of several words (or none) taken apart."""
    if " ".join(captions.tokens).split() == captions.tokens:
        return captions
    return TokenNumbers.of_forms(
        [token.split() for token in captions.tokens], captions.number, captions.caption, len(captions)
    )


def stable_order(values: Integers, below: int) -> Integers:
    """The stable order of numbers from 0 on: numpy sorts 16 bits at a time, in time linear in the length.

    Args:
        values: ``(M,)``.
        below: a bound of the values.
    """
    bits = max(below - 1, 0).bit_length()
    if bits == 0:
        return np.arange(len(values))
    order = np.argsort(values.astype(np.uint16), kind="stable")
    for place in range(16, bits, 16):
        digit = (values >> place).astype(np.uint8 if bits <= place + 8 else np.uint16)
        order = order[np.argsort(digit[order], kind="stable")]
    return order


def _find(keys: Integers, wanted: Integers) -> Integers:
    """The index of each wanted key among sorted keys, -1 for a missing key."""
    if len(keys) == 0:
        return np.full(len(wanted), -1)
    place = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[place] == wanted, place, -1)
