"""Sentences as an encoder reads them: word numbers side by side.

Dimensions: B sentences, L words of the longest one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from captioning.core.moving import Movable
from captioning.core.vocabulary import END, PAD, UNK, Vocabulary


class SourceVocabulary(Vocabulary):
    """The words of the sentences that an encoder reads, numbered."""

    of: ClassVar = "words of the training sources"

    def read(self, tokens: Sequence[str], max_words: int | None = None) -> list[int]:
        """The numbers of ``w1 … wL <end>``; unknown words become ``<unk>``, and words beyond ``max_words`` are cut."""
        return [*self.encode(tokens[:max_words])[1:-1], END]


@dataclass(frozen=True)
class Sentences(Movable):
    """B sentences.

    Attributes:
        words: ``(B, L)`` the words' numbers, ``<pad>`` behind a sentence's end.
        lengths: ``(B,)`` the number of words of each sentence, one or more.
    """

    words: Tensor
    lengths: Tensor

    @classmethod
    def of(cls, numbers: Sequence[Sequence[int]]) -> "Sentences":
        """Put sentences of different lengths side by side; one without a word is ``<unk>``."""
        whole = [each if len(each) else [UNK] for each in numbers]
        words = torch.full((len(whole), max(map(len, whole), default=1)), PAD)
        for place, sentence in enumerate(whole):
            words[place, : len(sentence)] = torch.as_tensor(sentence)
        return cls(words, torch.tensor([len(each) for each in whole], dtype=torch.long))
