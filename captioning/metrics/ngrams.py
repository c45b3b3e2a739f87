"""The n-grams of captions as integers, for the counts of BLEU and CIDEr without tuples or Counters.

Dimensions: C captions, G different n-grams of one to four words, M pairs of a caption and one of its n-grams.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from captioning.text.token_numbers import TokenNumbers

ORDERS = 4
Integers = NDArray[np.int64]
Floats = NDArray[np.float64]
Whole = TypeVar("Whole", bound=np.integer[Any])

_BITS = 63  # of numbers that are sorted as one
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
        places: the positions among ``words``, sorted by word, then by position: those of each pair of a caption and a
            single word follow one another, in the order of the pairs.
    """

    index: NGramIndex
    lengths: Integers
    caption: Integers
    ngram: Integers
    count: Integers
    words: Integers
    places: Integers

    @property
    def singles(self) -> int:
        """The number of pairs of a caption and a single word, which come first."""
        return int(np.searchsorted(self.ngram, len(self.index.words)))

    @property
    def caption_of_words(self) -> Integers:
        """The number of the caption of each of ``words``."""
        return np.repeat(np.arange(len(self.lengths)), self.lengths)

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


def count_ngrams(captions: TokenNumbers | Sequence[Sequence[str]], near: NGramIndex | None = None) -> NGramCounts:
    """Number and count the n-grams of tokenized captions; the pairs are ordered by n-gram, then by caption.

    A token with a blank in it, such as "1 1/2", is several words.

    Args:
        captions: the tokens of C captions.
        near: an index in which the n-grams will be looked up: words that are in it have its order, so that the n-grams
            are looked up from the first to the last, and found several times as fast.
    """
    numbered = _words_of(captions if isinstance(captions, TokenNumbers) else TokenNumbers.of(captions))
    if near is not None:
        numbered = numbered.in_order_of(near.words)
    word, lengths, size = numbered.number, numbered.lengths, len(numbered.tokens)
    caption = numbered.caption.astype(np.int32)
    left = np.repeat(np.cumsum(lengths), lengths) - np.arange(len(word))  # words from here to the caption's end
    position, before = np.arange(len(word)), np.zeros_like(word)  # and the n-gram before each position's n-th word
    places, keys, ngrams, captions_of, counts, offset, different = position, [], [], [], [], 0, 1
    for n in range(1, ORDERS + 1):
        starts = np.compress(left >= n, position)
        ngram, there, bits = _sorted(before, word, starts, n, (different, size, len(word)))
        new = changes(ngram)
        numbers = np.cumsum(new) - 1
        unique = ngram.take(np.flatnonzero(new))
        if n == 1:
            places = there
        if n < ORDERS:
            before[there] = numbers
        of_caption = caption.take(there)
        first = np.flatnonzero(new | changes(of_caption))  # of each pair's positions
        keys.append(((unique >> bits) << 32) | (unique & ((1 << bits) - 1)))
        ngrams.append(numbers.take(first) + offset)
        captions_of.append(of_caption.take(first))
        counts.append(np.diff(first, append=len(there)))
        different = len(unique)
        offset += different
    words = dict(zip(numbered.tokens, range(size), strict=True))
    together = np.concatenate
    return NGramCounts(
        index=NGramIndex(words, tuple(keys[1:])),
        lengths=lengths,
        caption=together(captions_of).astype(np.int64),
        ngram=together(ngrams),
        count=together(counts),
        words=word,
        places=places,
    )


def _sorted(
    before: Integers, word: Integers, starts: Integers, n: int, below: tuple[int, int, int]
) -> tuple[Integers, Integers, int]:
    """N-grams sorted by the n-gram before the last word, by the last word, and by position.

    The three numbers are sorted as one where they fit into it: numpy sorts numbers several times as fast as it finds
    the order of their indices.

    Args:
        before: ``(T,)``, for each position the number of the n-gram before the n-th word.
        word: ``(T,)``, the number of each word.
        starts: the positions at which an n-gram starts, rising.
        n: the number of words.
        below: a bound of the numbers in ``before``, of those in ``word``, and of the positions.

    Returns:
        The sorted n-grams, each the number of the n-gram before and that of the word; their positions; the number of
        bits of a word.
    """
    last = word[n - 1 :]
    before = before[: len(last)]
    bits = [max(bound - 1, 0).bit_length() for bound in below]
    _, of_word, of_start = bits
    if sum(bits) > _BITS:
        both = (before[starts] << 32) | last[starts]
        order = np.argsort(both, kind="stable")
        return both[order], starts[order], 32
    packed = before << of_word
    packed |= last
    packed <<= of_start
    packed |= np.arange(len(packed))
    packed = packed.take(starts)
    packed.sort()
    return packed >> of_start, packed & ((1 << of_start) - 1), of_word


def changes(values: NDArray[np.integer[Any]]) -> NDArray[np.bool_]:
    """``(M,)``: whether each value differs from the one before; true for the first one."""
    found = np.ones(len(values), np.bool_)
    np.not_equal(values[1:], values[:-1], out=found[1:])
    return found


def different(*values: NDArray[Whole]) -> NDArray[Whole]:
    """The different ones of some numbers, rising: ``np.unique`` with a fifth of its memory."""
    found = np.concatenate(values)
    found.sort()
    return found[changes(found)]


def _words_of(captions: TokenNumbers) -> TokenNumbers:
    """Captions with tokens of several words (or none) taken apart."""
    if " ".join(captions.tokens).split() == captions.tokens:
        return captions
    return TokenNumbers.of_forms(
        [token.split() for token in captions.tokens], captions.number, captions.caption, len(captions)
    )


def _find(keys: Integers, wanted: Integers) -> Integers:
    """The index of each wanted key among sorted keys, -1 for a missing key."""
    if len(keys) == 0:
        return np.full(len(wanted), -1)
    place = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[place] == wanted, place, -1)
