"""Document frequencies of many images, block by block: memory holds the n-grams that occur in two images or more."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from captioning.metrics.ngrams import NGramIndex
from captioning.text.token_numbers import Integers

_LAST_WORD = (1 << 32) - 1
_FACTOR = np.uint64(0x9E3779B97F4A7C15)
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
        """The sum of one or more parts; parts of like size are added first, so that each n-gram moves rarely."""
        stack: list[tuple[int, Self]] = []
        for part in parts:
            stack.append((1, part))
            while len(stack) > 1 and stack[-1][0] >= stack[-2][0]:
                (blocks, last), (others, before) = stack.pop(), stack.pop()
                stack.append((blocks + others, before.plus(last)))
        total = stack.pop()[1]
        while stack:
            total = stack.pop()[1].plus(total)
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
            both = np.union1d(here, there)
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
    """A sketch of the n-grams that occur in two or more images, and of a few others: two bits a place.

    Most n-grams of very many captions occur in one image. The sketch, made in a first pass over the captions, tells
    nearly all of them, so that no index ever holds them all.
    """

    def __init__(self, captions: int) -> None:
        """Make room for the n-grams of so many captions: 16 bytes a caption."""
        self._bits = min(max((64 * captions).bit_length(), 16), 30)
        self._once, self._twice = (np.zeros(1 << (self._bits - 3), np.uint8) for _ in range(2))

    def add(self, part: Counted) -> None:
        """Note the n-grams of some images."""
        for slot, count in zip(self._slots(part.index), part.by_order, strict=True):
            place, bit = slot >> 3, _BIT[slot & 7]
            again = np.flatnonzero((self._once[place] & bit != 0) | (count > 1))
            np.bitwise_or.at(self._twice, place[again], bit[again])
            np.bitwise_or.at(self._once, place, bit)

    def of(self, part: Counted) -> Counted:
        """The n-grams of some images that occur in two or more images of all, and a few others."""
        return part.only([self._twice[slot >> 3] & _BIT[slot & 7] != 0 for slot in self._slots(part.index)])

    def _slots(self, index: NGramIndex) -> Iterator[Integers]:
        """The places of the n-grams of each order, by hashes of their words."""
        words = np.fromiter(map(hash, index.words), np.int64, len(index.words)).view(np.uint64)
        found = words
        yield self._slot(found)
        for keys in index.keys:
            found = (found[keys >> 32] * _FACTOR) ^ (words[keys & _LAST_WORD] >> np.uint64(7))
            yield self._slot(found)

    def _slot(self, hashes: NDArray[np.uint64]) -> Integers:
        return ((hashes * _FACTOR) >> np.uint64(64 - self._bits)).view(np.int64)


def _added(size: int, *parts: tuple[Integers, Integers]) -> Integers:
    total = np.zeros(size, np.int64)
    for places, counts in parts:
        total[places] += counts
    return total
