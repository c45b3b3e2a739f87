"""Tokenized captions in flat arrays: a few bytes a word, for forty thousand captions as for eight million."""

import logging
from array import array
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from captioning.core.errors import CaptioningError
from captioning.core.progress import progress
from captioning.core.vocabulary import SPECIAL, UNK, Vocabulary
from captioning.data.photos import Photo
from captioning.text.registry import Tokenizer
from captioning.text.tokenizer import tokenize_each

log = logging.getLogger(__name__)


def build_vocabulary(
    photos: Sequence[Photo], minimum_count: int = 5, tokenizer: Tokenizer = tokenize_each
) -> Vocabulary:
    """The vocabulary of a training split.

    Args:
        photos: the photographs of the training split alone.
        minimum_count: the least count of a word in the vocabulary; rarer words become ``<unk>``.
        tokenizer: the tokenizer of the captions.

    Raises:
        CaptioningError: no word is left.
    """
    captions = (words for photo in progress(photos, "counting words") for words in tokenizer(photo.captions))
    return Vocabulary.build(captions, minimum_count)


@dataclass(frozen=True)
class TokenizedCaptions:
    """The captions of N photographs as word indices.

    Attributes:
        tokens: all captions one after the other, ``<start>`` to ``<end>``.
        ends: the end of each caption in ``tokens``; a caption begins at the end of the previous one.
        last: ``(N,)`` the end of each photograph's captions in ``ends``.
        words: the number of words of each caption as written, before it is cut.
    """

    tokens: "np.ndarray[tuple[int], np.dtype[np.int32]]"
    ends: "np.ndarray[tuple[int], np.dtype[np.int64]]"
    last: "np.ndarray[tuple[int], np.dtype[np.int64]]"
    words: "np.ndarray[tuple[int], np.dtype[np.int32]]"

    @classmethod
    def of(
        cls,
        photos: Sequence[Photo],
        vocabulary: Vocabulary,
        max_words: int,
        tokenizer: Tokenizer = tokenize_each,
    ) -> "TokenizedCaptions":
        """Tokenize captions and convert them to indices; captions without a known word are left out.

        Args:
            photos: N photographs.
            vocabulary: the vocabulary of the training split.
            max_words: the number of words after which a caption is cut.
            tokenizer: the tokenizer of the captions, that of the vocabulary.

        Raises:
            CaptioningError: no caption is left.
        """
        # lists of objects would take ten times the memory
        tokens, ends, last, words = array("i"), array("q"), array("q"), array("i")
        left_out = 0
        for photo in progress(photos, "tokenizing captions"):
            for written in tokenizer(photo.captions):
                numbers = vocabulary.encode(written[:max_words])
                if all(number == UNK for number in numbers[1:-1]):
                    left_out += 1
                    continue
                tokens.extend(numbers)
                ends.append(len(tokens))
                words.append(len(written))
            last.append(len(ends))
        if not ends:
            raise CaptioningError(
                f"All {left_out} captions are empty or made of words outside of the vocabulary "
                f"({len(vocabulary) - len(SPECIAL)} words). Check the captions, or lower data.minimum_count."
            )
        if left_out:
            log.warning("%d captions are empty or made of rare words alone and are left out.", left_out)
        return cls(
            np.frombuffer(tokens, np.int32),
            np.frombuffer(ends, np.int64),
            np.frombuffer(last, np.int64),
            np.frombuffer(words, np.int32),
        )

    def longer_than(self, words: int) -> int:
        """The number of captions of more than ``words`` words, as written."""
        return int((self.words > words).sum())

    def __len__(self) -> int:
        """The number of captions."""
        return len(self.ends)

    @property
    def photos(self) -> "np.ndarray[tuple[int], np.dtype[np.int64]]":
        """The indices of the photographs that have a caption."""
        return np.flatnonzero(np.diff(self.last, prepend=0))

    def of_photo(self, photo: int) -> range:
        """The indices of a photograph's captions."""
        return range(self.last[photo - 1] if photo else 0, self.last[photo])

    def __getitem__(self, caption: int) -> "np.ndarray[tuple[int], np.dtype[np.int32]]":
        """One caption, ``<start>`` to ``<end>``."""
        return self.tokens[self.ends[caption - 1] if caption else 0 : self.ends[caption]]

    def padded(self, captions: Sequence[Sequence[int]]) -> Tensor:
        """Captions of B photographs side by side.

        Args:
            captions: for each photograph the indices of its captions, at most S.

        Returns:
            ``(B, S, T)``, ``<pad>`` after each caption's end and in place of missing captions.
        """
        S = max((len(row) for row in captions), default=0)
        T = max((len(self[caption]) for row in captions for caption in row), default=0)
        tokens = np.zeros((len(captions), S, T), dtype=np.int64)
        for b, row in enumerate(captions):
            for s, caption in enumerate(row):
                numbers = self[caption]
                tokens[b, s, : len(numbers)] = numbers
        return torch.from_numpy(tokens)
