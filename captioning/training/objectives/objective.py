"""What an objective is.

Dimensions: B images, M words of a packed batch.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Protocol

from torch import Tensor

from captioning.core.features import Features
from captioning.core.packing import Packing
from captioning.core.sums import Sum
from captioning.core.vocabulary import CharacterVocabulary, Vocabulary
from captioning.decoders import Decoder


class Words(Protocol):
    """The texts of a batch, of which an objective may need more in a task of its own."""

    @property
    def words(self) -> Tensor:
        """``(M,)`` the words that go in, START first, in packed order."""

    @property
    def targets(self) -> Tensor:
        """``(M,)`` the words to be said, END last."""

    @property
    def packing(self) -> Packing:
        """Where each word stands."""


class Objective(ABC):
    """What training makes small; it owns the reading of a batch.

    Training adds the sums and counts of all ranks, divides, adds the means of those that are trained on, and logs all
    of them.
    """

    def begin(  # noqa: B027  # nothing to do is what most objectives do
        self, vocabulary: Vocabulary | CharacterVocabulary, references: Sequence[Sequence[str]]
    ) -> None:
        """Learn, once and before training, what an objective may need of the data; most need nothing.

        Args:
            vocabulary: of the decoder.
            references: the captions of each photograph of the training split, as written, in the split's order, which
                is that of a batch's ``photos``; none of a text.
        """

    @abstractmethod
    def __call__(self, decoder: Decoder, features: Features, batch: Words, step: int) -> dict[str, Sum]:
        """The sums of a batch, by name, with the number of things that each is the sum of.

        Args:
            decoder: what is trained, in training mode.
            features: of the batch's B photographs.
            batch: their captions.
            step: of the optimizer, from 0.
        """
