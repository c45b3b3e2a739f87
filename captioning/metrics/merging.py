"""Document frequencies of many images, block by block: only the different n-grams are in memory, no caption."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

import numpy as np

from captioning.metrics.ngrams import NGramIndex
from captioning.text.token_numbers import Integers

_LAST_WORD = (1 << 32) - 1


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
        kept = [count > 1 for count in self.by_order]
        number = [np.cumsum(each) - 1 for each in kept]
        words = {word: int(number[0][old]) for word, old in self.index.words.items() if kept[0][old]}
        keys = []
        for n, old in enumerate(self.index.keys, start=1):
            found = old[kept[n]]
            keys.append((number[n - 1][found >> 32] << 32) | number[0][found & _LAST_WORD])
        return type(self)(NGramIndex(words, tuple(keys)), self.count[np.concatenate(kept)])


def _added(size: int, *parts: tuple[Integers, Integers]) -> Integers:
    total = np.zeros(size, np.int64)
    for places, counts in parts:
        total[places] += counts
    return total
