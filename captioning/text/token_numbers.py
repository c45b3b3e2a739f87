"""The tokens of many captions as numbers: what scores count without a list of words for each caption.

Dimensions: C captions, T tokens of all captions, F forms (different words as written).
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, count, pairwise
from typing import Self

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.int64]


@dataclass(frozen=True)
class TokenNumbers:
    """The tokens of C captions.

    Attributes:
        tokens: the token of each number, each once; all of them occur.
        number: ``(T,)``, the tokens of all captions, one caption after the other.
        lengths: ``(C,)``, the number of tokens of each caption.
    """

    tokens: list[str]
    number: Integers
    lengths: Integers

    @classmethod
    def of(cls, captions: Sequence[Sequence[str]]) -> Self:
        """Number the tokens of tokenized captions, in the order of their first occurrence."""
        lengths = np.fromiter(map(len, captions), np.int64, len(captions))
        numbers = numbering()
        number = np.fromiter(map(numbers.__getitem__, chain.from_iterable(captions)), np.int64, int(lengths.sum()))
        return cls([*numbers], number, lengths)

    @classmethod
    def of_forms(cls, tokens: Sequence[Sequence[str]], form: Integers, caption: Integers, captions: int) -> Self:
        """Number the tokens of captions whose words are numbered as written.

        Args:
            tokens: the tokens of each of F forms.
            form: ``(W,)``, the forms of all captions, one caption after the other.
            caption: ``(W,)``, the number of each form's caption.
            captions: the number of captions C.
        """
        used = np.bincount(form, minlength=len(tokens)).tolist()
        of_forms = cls.of([each if count else () for each, count in zip(tokens, used, strict=True)])
        times = of_forms.lengths[form]
        number = of_forms.number[spans((np.cumsum(of_forms.lengths) - of_forms.lengths)[form], times)]
        return cls(of_forms.tokens, number, np.bincount(caption, times, captions).astype(np.int64))

    def in_order_of(self, known: Mapping[str, int]) -> Self:
        """The same tokens, numbered in the order that others have; tokens that are not among the others come last.

        Args:
            known: the numbers of the other tokens.
        """
        place = np.fromiter((known.get(token, len(known)) for token in self.tokens), np.int64, len(self.tokens))
        order = np.argsort(place, kind="stable")
        rank = np.empty_like(order)
        rank[order] = np.arange(len(order))
        return type(self)([*map(self.tokens.__getitem__, order.tolist())], rank[self.number], self.lengths)

    @property
    def caption(self) -> Integers:
        """``(T,)``, the number of each token's caption."""
        return np.repeat(np.arange(len(self)), self.lengths)

    def __len__(self) -> int:
        """The number of captions C."""
        return len(self.lengths)

    @cached_property
    def _ends(self) -> list[int]:
        return [0, *np.cumsum(self.lengths).tolist()]

    def words(self, caption: int) -> list[str]:
        """The tokens of one caption."""
        numbers = self.number[self._ends[caption] : self._ends[caption + 1]]
        return [*map(self.tokens.__getitem__, numbers.tolist())]

    def lists(self) -> list[list[str]]:
        """The tokens of each caption."""
        words = [*map(self.tokens.__getitem__, self.number.tolist())]
        return [words[begin:end] for begin, end in pairwise(self._ends)]


def numbering() -> defaultdict[str, int]:
    """A dictionary that gives each new key the next number."""
    return defaultdict(count().__next__)  # its own __len__ would keep it alive until a collection


def spans(begin: Integers, length: Integers) -> Integers:
    """The places of spans, one span after the other: ``begin, begin + 1, …`` of each.

    Args:
        begin: ``(S,)``.
        length: ``(S,)``, 0 or more.
    """
    return np.repeat(begin - (np.cumsum(length) - length), length) + np.arange(length.sum())
