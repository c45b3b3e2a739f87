"""Document frequencies of many images, block by block: memory holds the n-grams that occur in two images or more."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
from numpy.typing import NDArray

from captioning.core.spilled import Spilled
from captioning.metrics.ngrams import NGramIndex, different
from captioning.text.token_numbers import Integers

_LAST_WORD = (1 << 32) - 1
_FACTOR = np.uint64(0x9E3779B97F4A7C15)
_CAPTIONS_BITS = 13  # of the captions whose hashes are in memory at the same time
_PLACES = 32  # places of the sketch for each n-gram in it
_BIT = np.left_shift(1, np.arange(8)).astype(np.uint8)


@dataclass(frozen=True)
class Counted:
    """N-grams with the number of images of each.

    Attributes:
        index: the n-grams.
        count: ``(G,)``.
    """

    index: NGramIndex
    count: Integers

    @property
    def by_order(self) -> list[Integers]:
        """The counts of words, pairs, and so on."""
        ends = np.cumsum([len(self.index.words), *map(len, self.index.keys)])
        return np.split(self.count, ends[:-1])

    @classmethod
    def of_all(cls, parts: Iterable[Self]) -> Self:
        """The sum of one or more parts.

        A part is added to others once it has a quarter of their n-grams: each n-gram moves rarely, and a third more
        n-grams than those of the sum are in memory.
        """
        stack: list[Self] = []
        for part in parts:
            stack.append(part)
            while len(stack) > 1 and 4 * len(stack[-1].index) >= len(stack[-2].index):
                last, before = stack.pop(), stack.pop()
                stack.append(before.plus(last))
        total = stack.pop()
        while stack:
            total = stack.pop().plus(total)
        return total

    def plus(self, other: Self) -> Self:
        """The sum of two disjoint sets of images."""
        words = dict(self.index.words)
        for word in other.index.words:
            words.setdefault(word, len(words))
        of_other = np.fromiter(map(words.__getitem__, other.index.words), np.int64, len(other.index.words))
        mine, theirs = np.arange(len(self.index.words)), of_other  # numbers in the sum of the n-grams of an order
        (first, *counts), (second, *others) = self.by_order, other.by_order
        keys, sums = [], [_added(len(words), (mine, first), (theirs, second))]
        for old, new, count, its in zip(self.index.keys, other.index.keys, counts, others, strict=True):
            here = (mine[old >> 32] << 32) | (old & _LAST_WORD)
            there = (theirs[new >> 32] << 32) | of_other[new & _LAST_WORD]
            both = different(here, there)
            mine, theirs = np.searchsorted(both, here), np.searchsorted(both, there)
            keys.append(both)
            sums.append(_added(len(both), (mine, count), (theirs, its)))
        return type(self)(NGramIndex(words, tuple(keys)), np.concatenate(sums))

    def several(self) -> Self:
        """The n-grams of two or more images: CIDEr weights an n-gram of one image as one of none."""
        return self.only([count > 1 for count in self.by_order])

    def only(self, wanted: Sequence[NDArray[np.bool_]]) -> Self:
        """Some n-grams.

        Args:
            wanted: for each order, which n-grams; one without its first or last words is left out.
        """
        kept, number = [wanted[0]], [np.cumsum(wanted[0]) - 1]
        words = {word: int(number[0][old]) for word, old in self.index.words.items() if kept[0][old]}
        keys = []
        for old, some in zip(self.index.keys, wanted[1:], strict=True):
            before, last = old >> 32, old & _LAST_WORD
            kept.append(some & kept[-1][before] & kept[0][last])
            keys.append(((number[-1][before] << 32) | number[0][last])[kept[-1]])
            number.append(np.cumsum(kept[-1]) - 1)
        return type(self)(NGramIndex(words, tuple(keys)), self.count[np.concatenate(kept)])


class Repeated:
    """A sketch of the n-grams that occur in two or more images, and of a few others.

    Most n-grams of very many captions occur in one image. The sketch, made in a first pass over the captions, tells
    nearly all of them, so that no index ever holds them all. The hashes of all n-grams are in a file; those of a part
    of the hashes are in memory at a time, to find which are there twice.
    """

    def __init__(self, captions: int) -> None:
        """Begin with no n-gram.

        Args:
            captions: the number of captions, some twenty n-grams each.
        """
        self._cuts = np.arange(1, 1 + (captions >> _CAPTIONS_BITS), dtype=np.uint64)  # where the parts begin, but one
        self._cuts *= np.uint64((2**64 - 1) // (len(self._cuts) + 1))
        self._hashes = Spilled(np.uint64)
        self._begins: list[NDArray[np.int64]] = []  # of each part, and the end, among the hashes of each ``add``

    def add(self, part: Counted) -> None:
        """Note the n-grams of some images."""
        hashes = np.concatenate(
            [
                np.repeat(found, 1 + (count > 1))
                for found, count in zip(self._hashed(part.index), part.by_order, strict=True)
            ]
        )
        hashes.sort()
        begins = np.searchsorted(hashes, self._cuts)
        self._begins.append(np.concatenate([[0], begins, [len(hashes)]]) + len(self._hashes))
        self._hashes.append(hashes)

    @cached_property
    def _bitmap(self) -> tuple[NDArray[np.uint8], np.uint64]:
        """A bit for each n-gram that is there twice, and the number of bits that a hash has beyond those of a place."""
        twice = Spilled(np.uint64)
        for part in range(len(self._cuts) + 1):
            found = [self._hashes[begins[part] : begins[part + 1]] for begins in self._begins]
            hashes = np.concatenate([np.zeros(0, np.uint64), *found])
            hashes.sort()
            twice.append(different(hashes[1:][hashes[1:] == hashes[:-1]]))
        self._hashes, self._begins = Spilled(np.uint64), []
        bits = max((_PLACES * len(twice)).bit_length(), 16)
        bitmap, beyond = np.zeros(1 << (bits - 3), np.uint8), np.uint64(64 - bits)
        for _, hashes in twice.blocks():
            place = (hashes >> beyond).view(np.int64)
            np.bitwise_or.at(bitmap, place >> 3, _BIT[place & 7])
        return bitmap, beyond

    def of(self, part: Counted) -> Counted:
        """The n-grams of some images that occur in two or more images of all, and a few others."""
        bitmap, beyond = self._bitmap
        places = [(hashes >> beyond).view(np.int64) for hashes in self._hashed(part.index)]
        return part.only([bitmap[place >> 3] & _BIT[place & 7] != 0 for place in places])

    def _hashed(self, index: NGramIndex) -> Iterator[NDArray[np.uint64]]:
        """The hashes of the n-grams of each order, by hashes of their words."""
        words = np.fromiter(map(hash, index.words), np.int64, len(index.words)).view(np.uint64)
        found = words
        yield found * _FACTOR
        for keys in index.keys:
            found = (found[keys >> 32] * _FACTOR) ^ (words[keys & _LAST_WORD] >> np.uint64(7))
            yield found * _FACTOR


def _added(size: int, *parts: tuple[Integers, Integers]) -> Integers:
    total = np.zeros(size, np.int64)
    for places, counts in parts:
        total[places] += counts
    return total
