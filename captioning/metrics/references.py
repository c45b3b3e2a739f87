"""The references of images: tokenized once, on first use, with n-grams counted once, for many scorings.

Dimensions: N images, R references in total, C candidates, G n-grams, K pairs of an image and an n-gram of its
references, M pairs of a reference and one of its n-grams.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain

import numpy as np

from captioning.core.errors import CaptioningError
from captioning.core.spilled import Spilled
from captioning.metrics.frequencies import DocumentFrequencies, HashedFrequencies, IndexedFrequencies
from captioning.metrics.ngrams import NGramCounts, changes, count_ngrams
from captioning.metrics.packed import Sets
from captioning.text.registry import Tokenizer, number_tokens
from captioning.text.token_numbers import Integers, TokenNumbers, spans
from captioning.text.tokenizer import tokenize_coco

MANY = 20_000  # images from which on they are scored in blocks
AT_ONCE = 2_500  # images of a block: their tokens and n-grams are in memory at the same time


class References:
    """The references of N images; tokens are found and n-grams counted on their first use, once.

    Attributes:
        texts: the references of each image, as written.
        tokenizer: the tokenizer of references and candidates.
        counts: ``(N,)`` the number of references of each image.
        per_image: the same in memory.
        first: ``(N,)`` the number of each image's first reference among all R.
    """

    def __init__(self, references: Sequence[Sequence[str]], tokenizer: Tokenizer = tokenize_coco) -> None:
        """Take the references.

        Args:
            references: one or more references of each image, as written.
            tokenizer: the tokenizer; by default coco-caption's.

        Raises:
            CaptioningError: there is no image, or an image has no reference.
        """
        if isinstance(references, Sets):
            self.counts = references.counts
        else:
            self.counts = Spilled.of(np.fromiter(map(len, references), np.int64, len(references)))
        without = [begin + place for begin, block in self.counts.blocks() for place in np.flatnonzero(block == 0)]
        if without or not references:
            raise CaptioningError(
                f"{len(without)} of {len(references)} images have no reference to score against (the first: "
                f"number {without[0] if without else '-'}). Leave them out, or give references."
            )
        self.texts, self.tokenizer = references, tokenizer

    def __len__(self) -> int:
        """The number of images N."""
        return len(self.counts)

    @cached_property
    def per_image(self) -> Integers:
        """See above."""
        return np.asarray(self.counts).astype(np.int64)

    @cached_property
    def first(self) -> Integers:
        """See above."""
        return np.cumsum(self.per_image) - self.per_image

    @property
    def are_many(self) -> bool:
        """True for more than ``MANY`` images, which are scored in blocks."""
        return len(self) > MANY

    @cached_property
    def flat(self) -> Sequence[str]:
        """The R references, as written."""
        return self.texts.flat if isinstance(self.texts, Sets) else [*chain.from_iterable(self.texts)]

    @cached_property
    def numbers(self) -> TokenNumbers:
        """The tokens of the R references as numbers."""
        return number_tokens(self.tokenizer, self.flat)

    @cached_property
    def tokens(self) -> list[list[list[str]]]:
        """The tokens of each reference of each image."""
        tokens = iter(self.numbers.lists())
        return [[next(tokens) for _ in captions] for captions in self.texts]

    @cached_property
    def ngrams(self) -> "ReferenceNGrams":
        """The n-grams of the references, counted once for all metrics."""
        counts = count_ngrams(self.numbers)
        image = np.repeat(np.arange(len(self)), self.per_image)[counts.caption]
        start = np.flatnonzero(changes(counts.ngram) | changes(image))
        return ReferenceNGrams(
            counts=counts,
            images=len(self),
            keys=counts.ngram[start] * len(self) + image[start],
            start=start,
            stop=np.append(start[1:], len(image)),
        )

    @cached_property
    def frequencies(self) -> DocumentFrequencies:
        """The number of these images in whose references each n-gram occurs.

        Of more than ``MANY`` images, n-grams of one image are left out, which weigh what an unknown n-gram does.
        """
        if self.are_many:
            return HashedFrequencies(map(_frequencies_of, self.blocks()), len(self.flat))  # a generator keeps a block
        return self._own_frequencies()

    def _own_frequencies(self) -> IndexedFrequencies:
        counts = self.ngrams.counts
        count = np.bincount(counts.ngram[self.ngrams.start], minlength=len(counts.index))
        return IndexedFrequencies(counts.index, count, len(self))

    def blocks(self) -> Iterator[tuple[int, "References"]]:
        """The references of ``AT_ONCE`` images each, with the number of the first image.

        A block has the tokens and document frequencies of the whole, and is forgotten after use: many captions
        take the memory of one block.
        """
        first = 0
        for begin in range(0, len(self), AT_ONCE):
            yield begin, _Block(self, begin, first)
            first += int(self.counts[begin : begin + AT_ONCE].sum())


class _Block(References):
    """The references of some of many images."""

    def __init__(self, whole: References, begin: int, first: int) -> None:
        super().__init__(whole.texts[begin : begin + AT_ONCE], whole.tokenizer)
        self._whole, self._begin = whole, first

    @cached_property
    def numbers(self) -> TokenNumbers:
        end = self._begin + int(self.per_image.sum())
        return number_tokens(self.tokenizer, self._whole.flat, self._begin, end)

    @cached_property
    def frequencies(self) -> DocumentFrequencies:
        return self._whole.frequencies


def _frequencies_of(numbered: tuple[int, References]) -> IndexedFrequencies:
    return numbered[1]._own_frequencies()


@dataclass(frozen=True)
class ReferenceNGrams:
    """The n-grams of images' references, sorted by n-gram and image.

    Attributes:
        counts: the M pairs of a reference and one of its n-grams.
        images: the number of images N.
        keys: ``(K,)``, rising: n-gram · N + image.
        start: ``(K,)`` the first of the M pairs that belong to each key.
        stop: ``(K,)`` one after the last of the M pairs that belong to each key.
    """

    counts: NGramCounts
    images: int
    keys: Integers
    start: Integers
    stop: Integers

    def match(self, counts: NGramCounts, images: Integers) -> "Match":
        """The n-grams of candidates that occur in a reference of the candidate's image.

        Args:
            counts: the n-gram counts of C candidates.
            images: ``(C,)`` the number of each candidate's image.
        """
        place = counts.index.locate(self.counts.index)[counts.ngram]
        known = np.flatnonzero(place >= 0)
        wanted = place[known] * self.images + images[counts.caption[known]]
        key = np.searchsorted(self.keys, wanted)
        key[key == len(self.keys)] = 0
        there = self.keys[key] == wanted if len(self.keys) else np.zeros(0, dtype=bool)
        pairs, keys = known[there], key[there]
        times = self.stop[keys] - self.start[keys]
        entries = spans(self.start[keys], times)
        most = np.maximum.reduceat(self.counts.count[entries], np.cumsum(times) - times) if len(keys) else times
        return Match(pairs, keys, place[pairs], np.minimum(counts.count[pairs], most), times, entries)


@dataclass(frozen=True)
class Match:
    """The candidates' n-grams that occur in a reference of their image.

    Attributes:
        pairs: the number of each match among the pairs of a candidate and an n-gram.
        keys: the number of each match among the pairs of an image and an n-gram of its references.
        ngrams: the number of each match's n-gram in the references' index.
        clipped: the candidate's count, clipped to the highest count in one reference.
        times: the number of references of the image that have the n-gram.
        entries: the pairs of a reference and an n-gram that belong to the matches, one match after the other.
    """

    pairs: Integers
    keys: Integers
    ngrams: Integers
    clipped: Integers
    times: Integers
    entries: Integers
