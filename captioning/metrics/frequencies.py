"""Document frequencies: in memory with their n-grams, or of very many images by hashes in a file."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from captioning.core.spilled import Spilled
from captioning.metrics.ngrams import Floats, NGramIndex, changes
from captioning.text.token_numbers import Integers

_FACTOR = np.uint64(0x9E3779B97F4A7C15)
_CAPTIONS_BITS = 13  # of the captions whose hashes are in memory at the same time

Hashes = NDArray[np.uint64]
Counts = NDArray[np.integer[Any]]


class DocumentFrequencies(ABC):
    """The number of images in whose references each n-gram occurs.

    Attributes:
        images: the number of all images.
    """

    images: int

    @abstractmethod
    def counts_of(self, index: NGramIndex) -> Integers:
        """``(G,)``: the number of images of each n-gram of an index, 0 or 1 for those of a single image."""

    def weights(self, index: NGramIndex) -> Floats:
        """``(G,)`` inverse document frequencies of the n-grams of an index: log images - log max(1, count)."""
        different, place = np.unique(self.counts_of(index), return_inverse=True)
        weights: Floats = (np.log(max(self.images, 1)) - np.log(np.maximum(different, 1)))[place]
        return weights


@dataclass(frozen=True)
class IndexedFrequencies(DocumentFrequencies):
    """Document frequencies of the n-grams of an index.

    Attributes:
        index: the n-grams.
        count: ``(G,)``, the number of images for each n-gram.
        images: the number of all images.
    """

    index: NGramIndex
    count: Integers
    images: int

    def counts_of(self, index: NGramIndex) -> Integers:
        """See above."""
        if index is self.index:
            return self.count
        place = index.locate(self.index)
        return np.where(place >= 0, self.count[place], 0) if len(self.count) else np.zeros_like(place)


class HashedFrequencies(DocumentFrequencies):
    """Document frequencies of very many images, in temporary files: a further caption takes no memory.

    An n-gram is known by a hash of 64 bits: that any two of ten million share one has a chance of three in a million,
    and would change the weights of those two. N-grams of a single image are left out, which weigh what an unknown
    n-gram does.
    """

    def __init__(self, blocks: Iterator[IndexedFrequencies], captions: int) -> None:
        """Add up the frequencies of disjoint blocks of images.

        Args:
            blocks: the frequencies of each block.
            captions: the number of captions of all, some twenty n-grams each.
        """
        cuts = np.arange(1, 1 + (captions >> _CAPTIONS_BITS), dtype=np.uint64)  # where the parts begin, but one
        cuts *= np.uint64((2**64 - 1) // (len(cuts) + 1))
        self.images = 0
        hashes, counts = Spilled(np.uint64), Spilled(np.uint16)
        begins: list[Integers] = []  # of each part of the hashes, and the end, in each block
        for block in map(_sorted, blocks):
            begins.append(np.concatenate([[0], np.searchsorted(block[0], cuts), [len(block[0])]]) + len(hashes))
            hashes.append(block[0])
            counts.append(block[1])
            self.images += block[2]
        self._hashes, self._counts = Spilled(np.uint64), Spilled(np.uint16)  # rising hashes
        for part in range(len(cuts) + 1):
            here = [slice(each[part], each[part + 1]) for each in begins]
            found, count = _added([hashes[rows] for rows in here], [counts[rows] for rows in here])
            self._hashes.append(found[count > 1])
            self._counts.append(_narrow(count[count > 1]))

    def counts_of(self, index: NGramIndex) -> Integers:
        """See above."""
        hashes = _hashes_of(index)
        order = np.argsort(hashes)
        hashes = hashes[order]
        counts, begin = np.zeros(len(hashes), np.int64), 0
        for row, known in self._hashes.blocks():
            end = begin + int(np.searchsorted(hashes[begin:], known[-1], side="right"))
            wanted = hashes[begin:end]
            place = np.searchsorted(known, wanted)
            counts[order[begin:end]] = np.where(known[place] == wanted, self._counts[row : row + len(known)][place], 0)
            begin = end
        return counts


def _sorted(block: IndexedFrequencies) -> tuple[Hashes, Counts, int]:
    """The hashes of a block's n-grams, rising, with their counts, and the number of images."""
    hashes = _hashes_of(block.index)
    order = np.argsort(hashes)
    return hashes[order], _narrow(block.count[order]), block.images


def _added(hashes: list[Hashes], counts: list[Counts]) -> tuple[Hashes, Integers]:
    """The different hashes, rising, and the sum of the counts of each."""
    together = np.concatenate([np.zeros(0, np.uint64), *hashes])
    order = np.argsort(together)
    together = together[order]
    first = np.flatnonzero(changes(together))
    count = np.concatenate([np.zeros(0, np.int64), *counts])[order]
    return together[first], np.add.reduceat(count, first) if len(first) else count


def _narrow(counts: Counts) -> Counts:
    """Counts in two bytes each, or in four where they are large."""
    return counts.astype(np.uint16 if counts.max(initial=0) <= np.iinfo(np.uint16).max else np.int32)


def _hashes_of(index: NGramIndex) -> Hashes:
    """``(G,)``: hashes of all n-grams, made of the hashes of their words."""
    words = np.fromiter(map(hash, index.words), np.int64, len(index.words)).view(np.uint64)
    before, found = words, [words * _FACTOR]
    for keys in index.keys:
        before = (before[keys >> 32] * _FACTOR) ^ (words[keys & 0xFFFFFFFF] >> np.uint64(7))
        found.append(before * _FACTOR)
    return np.concatenate(found)
