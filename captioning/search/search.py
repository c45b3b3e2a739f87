"""What a search is, what it asks of a model, and what it gives.

Dimensions: B images, S sequences of an image, N captions of an image, T words, L regions, V vocabulary.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from captioning.core.errors import CaptioningError
from captioning.core.features import Features
from captioning.core.state import State
from captioning.core.vocabulary import PAD, START, UNK

NEVER_SAID = (PAD, START, UNK)
LEAVE = 0.75  # of the photographs: once no more are left, the finished ones leave (a copy of the state of the rest)


class ConditionalModel(Protocol):
    """A conditional language model: all that a search knows of a decoder, or of an ensemble of them."""

    def start(self, features: Features) -> State:
        """The state before START, with one sequence per image (S = 1)."""

    def step(self, tokens: Tensor, state: State) -> tuple[Tensor, State]:
        """The logits ``(B, S, V)`` of the next word after ``tokens (B, S)``, and the next state."""


@dataclass(frozen=True)
class Captions:
    """N captions for each of B photographs, best first.

    Attributes:
        tokens: ``(B, N, T)``, ``<end>`` included (a caption cut at ``max_length`` has none), then ``<pad>``.
        scores: ``(B, N)``, float32, by which they are ranked: the decoder's log-probability of the tokens, divided by
            the length penalty in beam search. ``-inf`` where a photograph has fewer than N captions.
        attention: ``(B, N, T, L)``, the weights with which each word was said, zero at ``<pad>``; None where not asked
            for, or where the decoder has no attention.
    """

    tokens: Tensor
    scores: Tensor
    attention: Tensor | None = None


class Search(ABC):
    """A way from a model's probabilities to captions, over a whole batch of photographs at once.

    A search of one's own is a subclass with ``search``. ``search._target_=my_module.MySearch`` names it to ``train``
    and ``evaluate``; a checkpoint that names it is loaded with ``--trust my_module``.
    """

    def __init__(self, max_length: int = 20) -> None:
        """Take the setting that all searches share.

        Args:
            max_length: the most tokens of a caption, ``<end>`` included; it is cut where it has not ended by then.

        Raises:
            CaptioningError: ``max_length`` is below 1.
        """
        require(max_length >= 1, f"search.max_length={max_length}: a caption needs at least one token.")
        self.max_length = max_length

    def __call__(self, decoder: ConditionalModel, features: Features, attention: bool = False) -> Captions:
        """Caption B photographs, without gradients, on the device of their features.

        Args:
            decoder: a decoder or an ensemble of them, in evaluation mode and on the same device.
            features: of the photographs.
            attention: whether to return the attention weights.
        """
        with torch.no_grad():
            return self.search(decoder, features, attention)

    @abstractmethod
    def search(self, decoder: ConditionalModel, features: Features, attention: bool) -> Captions:
        """What ``__call__`` does, with gradients switched off."""

    def with_captions(self, count: int) -> "Search":
        """The same search, for that many captions of each photograph; itself where the search has no such setting.

        Args:
            count: N, 1 or more.

        Raises:
            CaptioningError: the search can't find so many; the sentence names the setting that helps.
        """
        return self


def log_probabilities(logits: Tensor) -> Tensor:
    """The decoder's log-probabilities, ``-inf`` for words that are never said; float32, free to be written into.

    The rest is not scaled up to sum to one: a score stays the probability that the decoder gives to the caption.
    """
    result = logits.log_softmax(-1, dtype=torch.float32)
    for token in NEVER_SAID:
        result[..., token] = -torch.inf
    return result


def still_open(alive: Tensor) -> Tensor | None:
    """Which photographs go on.

    Args:
        alive: ``(B,)``, whether a photograph still has something to search.

    Returns:
        Indices of those alive, empty when the search is over; None when it is better to take all of them along.
    """
    count = int(alive.sum())
    return alive.nonzero().squeeze(1) if count <= LEAVE * len(alive) else None


def require(condition: bool, sentence: str) -> None:
    """Refuse a setting with a sentence."""
    if not condition:
        raise CaptioningError(sentence)
