"""The interfaces of searches: their base class, the models that they call, and the captions that they return.

Dimensions: B images, S sequences of an image, N captions of an image, T words, L regions, V vocabulary.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Callable
from copy import copy
from dataclasses import dataclass
from inspect import signature
from typing import ClassVar, Protocol, Self

import torch
from torch import Tensor

from captioning.core.errors import CaptioningError
from captioning.core.features import Features
from captioning.core.state import State
from captioning.core.vocabulary import END, PAD, START, UNK, Vocabulary
from captioning.text.endings import BAD_ENDINGS

NEVER_SAID = (PAD, START, UNK)
LEAVE = 0.75  # fraction of the images still open at which the finished ones leave (the state of the rest is copied)
WAITS = ("cuda",)  # devices that compute while the processor goes on
TEMPERATURES = (1e-4, 1e9)  # also those of captioning.runs.ranges, which does not import torch
UNASKED = 4  # steps of a search on a GPU between two questions what is finished: each waits for the GPU


class ConditionalModel(Protocol):
    """A conditional language model: the methods of a decoder, or of an ensemble, that a search calls."""

    def start(self, features: Features) -> State:
        """The state before START, with one sequence per image (S = 1)."""

    def step(self, tokens: Tensor, state: State) -> tuple[Tensor, State]:
        """The logits ``(B, S, V)`` of the next word after ``tokens (B, S)``, and the next state."""


@dataclass(frozen=True)
class Captions:
    """N captions for each of B images, best first.

    Attributes:
        tokens: ``(B, N, T)``, ``<end>`` included (a caption cut at ``max_length`` has none), then ``<pad>``.
        scores: ``(B, N)``, float32, the scores that rank the captions: the decoder's log-probability of the tokens,
            divided by the length penalty in beam search; the expected similarity in ``Consensus``. ``-inf`` if an image
            has fewer than N captions.
        attention: ``(B, N, T, L)``, the attention weights of each word, zero at ``<pad>``; None if not requested, or if
            the decoder has no attention.
        sentinel: ``(B, N, T)``, the weight of the sentinel at each word, 0 to 1 and 0 at ``<pad>``; None if not
            requested, or if the decoder has no sentinel (see ``captioning.decoders.Adaptive``).
    """

    tokens: Tensor
    scores: Tensor
    attention: Tensor | None = None
    sentinel: Tensor | None = None


class Search(ABC):
    """A search for captions by a model's probabilities, over a whole batch of images at once.

    A custom search is a subclass with ``search``. ``search._target_=my_module.MySearch`` names the class to ``train``
    and ``evaluate``; ``--trust my_module`` permits a checkpoint that names the class.

    Attributes:
        max_length: the largest number of tokens of a caption.
        remove_bad_endings: whether ``<end>`` is ruled out after a function word.
        untold: the settings that the search in words leaves out, such as paths.
    """

    remove_bad_endings = False
    untold: ClassVar[tuple[str, ...]] = ()
    _bad_endings: Tensor | None = None  # the numbers of the function words, once the vocabulary is known

    def __init__(self, max_length: int = 20, remove_bad_endings: bool = False) -> None:
        """Take the settings that all searches share.

        Args:
            max_length: the largest number of tokens of a caption, ``<end>`` included; longer captions are cut.
            remove_bad_endings: whether ``<end>`` is ruled out after a function word (``captioning.text.endings``). A
                caption that is cut at ``max_length`` may still end so.

        Raises:
            CaptioningError: ``max_length`` is below 1.
        """
        require(max_length >= 1, f"search.max_length={max_length}: a caption needs at least one token.")
        self.max_length, self.remove_bad_endings = max_length, remove_bad_endings

    def __call__(self, decoder: ConditionalModel, features: Features, attention: bool = False) -> Captions:
        """Caption B images, without gradients, on the device of their features.

        Args:
            decoder: a decoder or an ensemble of decoders, in evaluation mode and on the same device.
            features: the features of the images.
            attention: whether to return the attention weights and, of a decoder with a sentinel, the sentinel's.
        """
        with torch.no_grad():
            return self.search(decoder, features, attention)

    @abstractmethod
    def search(self, decoder: ConditionalModel, features: Features, attention: bool) -> Captions:
        """Caption B images with gradients switched off, see ``__call__``."""

    def for_vocabulary(self, vocabulary: Vocabulary) -> Self:
        """The same search, with the numbers of the words that its settings name; the search itself if they name none.

        Args:
            vocabulary: the vocabulary of the decoder.

        Raises:
            CaptioningError: the vocabulary lacks a word that a setting names.
        """
        if not self.remove_bad_endings:
            return self
        search = copy(self)
        numbers = [vocabulary.numbers[word] for word in BAD_ENDINGS if word in vocabulary.numbers]
        search._bad_endings = torch.tensor(numbers, dtype=torch.long)
        return search

    def require_encoder(self, fingerprint: Callable[[], str]) -> None:  # noqa: B027
        """Check that the search can rank captions of an encoder's images; by default any search can.

        Args:
            fingerprint: a function without arguments that hashes the encoder, see ``Encoder.fingerprint``.

        Raises:
            CaptioningError: the search remembers the features of another encoder.
        """

    def log_probabilities(self, logits: Tensor, previous: Tensor) -> Tensor:
        """The decoder's log-probabilities of the next word, ``-inf`` for words that the search rules out.

        Args:
            logits: ``(B, S, V)``, the decoder's logits of the next word.
            previous: ``(B, S)``, the words before it, or ``(B, 1)`` if they are equal.

        Raises:
            CaptioningError: the numbers of the function words are needed and unknown.
        """
        log_probs = log_probabilities(logits)
        if self.remove_bad_endings:
            require(
                self._bad_endings is not None,
                "search.remove_bad_endings needs the numbers of words: call search.for_vocabulary(vocabulary) first.",
            )
            assert self._bad_endings is not None
            after = torch.isin(previous, self._bad_endings.to(previous.device))
            log_probs[..., END].masked_fill_(after, -torch.inf)
        return log_probs

    def __str__(self) -> str:
        """The search in words, such as ``beam 8, length penalty 0.6``: its name, and settings that are not default."""
        name = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", type(self).__name__).lower()
        told = []
        for setting, parameter in signature(type(self)).parameters.items():
            value = getattr(self, setting, parameter.default)
            if setting in self.untold:
                continue
            if setting == "size":
                name += f" {value}"
            elif value != parameter.default:
                told.append(setting.replace("_", " ") + ("" if value is True else f" {_plain(value)}"))
        return ", ".join([name, *told])

    def with_captions(self, count: int) -> "Search":
        """The same search, for ``count`` captions of each image; the search itself if it has no such setting.

        Args:
            count: N, 1 or more.

        Raises:
            CaptioningError: the search can't find so many captions; the message names the setting that helps.
        """
        return self


def log_probabilities(logits: Tensor) -> Tensor:
    """The decoder's log-probabilities, ``-inf`` for words that are never generated; a new tensor in float32.

    The other words are not renormalised: a score stays the log-probability that the decoder gives to the caption.
    """
    result = logits.log_softmax(-1, dtype=torch.float32)
    for token in NEVER_SAID:
        result[..., token] = -torch.inf
    return result


def still_open(alive: Tensor, step: int) -> Tensor | None:
    """The images whose search goes on.

    A GPU is asked at every fourth step alone: in between, the processor runs ahead, and finished images stay. What they
    do there changes no caption.

    Args:
        alive: ``(B,)``, True for an image with an open caption.
        step: the number of the step, from 0.

    Returns:
        The indices of these images, empty when the search is over; None when keeping all images is faster.
    """
    if alive.device.type in WAITS and (step + 1) % UNASKED:
        return None
    count = int(alive.sum())
    return alive.nonzero().squeeze(1) if count <= LEAVE * len(alive) else None


def _plain(value: object) -> str:
    """A setting's value in words."""
    return "; ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def require(condition: bool, sentence: str) -> None:
    """Raise a ``CaptioningError`` with a sentence unless a condition holds."""
    if not condition:
        raise CaptioningError(sentence)


def require_temperature(temperature: float) -> None:
    """Raise a ``CaptioningError`` unless logits and scores can be divided by a temperature."""
    least, most = TEMPERATURES
    require(
        least <= temperature <= most,
        f"search.temperature={temperature}: take one from {least:g} to {most:g}, or search=greedy for the likeliest.",
    )


def say_empty(empty: int, total: int) -> str:
    """The sentence on captions without a word: a wide beam finds that the most probable sentence is often none."""
    return (
        f"{empty} of {total} captions are empty: to end at once was the most probable sentence. A length penalty "
        "(--length-penalty 0.7, search.length_penalty) or a narrower beam gives longer ones."
    )
