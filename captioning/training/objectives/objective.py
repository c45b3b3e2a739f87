"""The protocol of objectives.

Dimensions: B images, M words of a packed batch.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Protocol

from torch import Tensor, nn

from captioning.core.features import Features
from captioning.core.packing import Packing
from captioning.core.sums import Sum
from captioning.core.vocabulary import CharacterVocabulary, Vocabulary
from captioning.decoders import Decoder
from captioning.text.registry import Tokenizer
from captioning.text.tokenizer import tokenize_each


class Words(Protocol):
    """The texts of a batch; an objective of a custom task may need further fields."""

    @property
    def words(self) -> Tensor:
        """``(M,)`` the input words, START first, in packed order."""

    @property
    def targets(self) -> Tensor:
        """``(M,)`` the target words, END last."""

    @property
    def packing(self) -> Packing:
        """The position of each word."""


class Objective(nn.Module, ABC):
    """A quantity that training minimizes; the objective runs the decoder on a batch.

    Training adds the sums and counts of all ranks, divides, adds the means of the trained sums to the loss, and logs
    all means.

    Attributes:
        signature: the settings that are published with the scores, as a short text, known after ``begin``; empty where
            there is no such custom. Checkpoints keep the signature, and files of scores name it.
        tokenizer: the tokenizer of the data's captions (``data.tokenizer``); the task sets it before ``begin``.
    """

    signature: str = ""
    tokenizer: Tokenizer = staticmethod(tokenize_each)

    def begin(  # most objectives have nothing to do here
        self, vocabulary: Vocabulary | CharacterVocabulary, references: Sequence[Sequence[str]]
    ) -> None:
        """Prepare the objective from the data, once before training; most objectives need nothing.

        Args:
            vocabulary: the vocabulary of the decoder.
            references: the captions of each photograph of the training split, as written; a batch's ``photos`` index
                this list; empty for a text.
        """

    @abstractmethod
    def forward(self, decoder: Decoder, features: Features, batch: Words, step: int) -> dict[str, Sum]:
        """The sums of a batch by name, each with the number of its terms.

        Args:
            decoder: the trained model, in training mode.
            features: the features of the batch's B photographs.
            batch: the captions of the photographs.
            step: the optimizer's step, from 0.
        """
