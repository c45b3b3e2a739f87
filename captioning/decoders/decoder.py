"""The base class of decoders: language models conditioned on an image.

Dimensions: B images, S sequences of an image (captions in training, beams in search), T words, M words of a packed
batch, E embedding, O inputs of the output layer, V vocabulary.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from captioning.core.errors import CaptioningError
from captioning.core.features import Features, FeatureSpec
from captioning.core.packing import Packing
from captioning.core.state import State
from captioning.core.sums import Sum
from captioning.core.vocabulary import PAD
from captioning.decoders.embeddings import set_vectors


@dataclass(frozen=True)
class Outputs:
    """The outputs of a decoder for whole captions under teacher forcing.

    Attributes:
        hidden: ``(M, O)``, the inputs of the output layer, one row for each predicted word, in packed order.
        trace: further tensors ``(M, …)`` by name for the decoder's own losses (attention weights, reconstructions).
    """

    hidden: Tensor
    trace: dict[str, Tensor] = field(default_factory=dict)


class Decoder(nn.Module, ABC):
    """A conditional language model; a subclass need define ``start`` and ``advance`` alone.

    ``step`` (for search) and ``teacher_force`` (for training) follow from these two. A subclass may define a faster
    ``teacher_force``; a test of all decoders compares it with the loop of steps, value for value.

    Attributes:
        reads: the names of the parts of the features that the decoder needs.
        traced: the names of the parts of ``State.sequence`` that the decoder's own losses need at every word.
        features: the shapes of the encoder's features.
        embedding: the layer from words to vectors, ``(V, E)``.
        word_layer: the output layer, from the outputs of ``advance`` to the logits of all words, O to V.
    """

    reads: tuple[str, ...] = ("pooled",)
    traced: tuple[str, ...] = ()

    def __init__(
        self,
        vocabulary_size: int,
        features: FeatureSpec,
        *,
        embedding_size: int = 512,
        embedding_dropout: float = 0.0,
        output_dropout: float = 0.0,
        tied: bool = False,
        output_size: int | None = None,
    ) -> None:
        """Make the embedding and the output layer.

        Args:
            vocabulary_size: V, the number of words.
            features: the shapes of the encoder's features.
            embedding_size: E, the numbers of an embedded word.
            embedding_dropout: the fraction of the embedded words' numbers that training drops.
            output_dropout: the fraction of the output layer's inputs that training drops.
            tied: whether the output layer uses the embedding's weights (Press & Wolf 2017, arXiv 1608.05859).
            output_size: O, the inputs of the output layer; None for E.

        Raises:
            CaptioningError: ``tied`` is set and O ≠ E, or a fraction is not from 0 to 1.
        """
        super().__init__()
        check_fractions(embedding_dropout=embedding_dropout, output_dropout=output_dropout)
        self.features, self.embedding_size = features, embedding_size
        output_size = output_size or embedding_size
        self.embedding = nn.Embedding(vocabulary_size, embedding_size, padding_idx=PAD)
        self.embedding_dropout = nn.Dropout(embedding_dropout)
        self.output_dropout = nn.Dropout(output_dropout)
        self.word_layer = nn.Linear(output_size, vocabulary_size)
        nn.init.uniform_(self.embedding.weight, -0.1, 0.1)
        nn.init.zeros_(self.word_layer.bias)
        if tied:
            if output_size != embedding_size:
                raise CaptioningError(
                    f"Tied embeddings need equal widths, but the word layer reads {output_size} numbers and the "
                    f"embedding has {embedding_size}: set decoder.embedding_size={output_size} or decoder.tied=false."
                )
            self.word_layer.weight = self.embedding.weight

    @abstractmethod
    def start(self, features: Features) -> State:
        """The state before START, with one sequence per image (S = 1)."""

    @abstractmethod
    def advance(self, tokens: Tensor, state: State) -> tuple[Tensor, State]:
        """Feed one word of every sequence.

        Args:
            tokens: ``(B, S)``, the previous words.
            state: the state before these words.

        Returns:
            ``(B, S, O)``, the output layer's inputs for the next word, and the next state.
        """

    def step(self, tokens: Tensor, state: State) -> tuple[Tensor, State]:
        """The logits ``(B, S, V)`` of the next word after ``tokens (B, S)``, and the next state."""
        hidden, state = self.advance(tokens, state)
        return self.logits(hidden), state

    def logits(self, hidden: Tensor) -> Tensor:
        """The logits ``(…, V)`` of the output layer's inputs ``(…, O)``, with dropout in training."""
        logits: Tensor = self.word_layer(self.output_dropout(hidden))
        return logits

    def embed(self, tokens: Tensor) -> Tensor:
        """The embedded words ``(…, E)`` of words ``(…)``, with dropout in training."""
        embedded: Tensor = self.embedding_dropout(self.embedding(tokens))
        return embedded

    def teacher_force(self, features: Features, words: Tensor, packing: Packing) -> Outputs:
        """Feed whole captions, whatever words the decoder itself would have predicted (teacher forcing).

        Args:
            features: the features of B images.
            words: ``(M,)``, the input words, START first, in packed order.
            packing: the place of each word.
        """
        return self.teacher_force_by_steps(features, words, packing)

    def teacher_force_from(
        self, state: State, words: Tensor, packing: Packing, own_words: float = 0.0
    ) -> tuple[Outputs, State]:
        """Feed words under teacher forcing from a given state, for truncated backpropagation through time.

        The gradient flows back into ``state`` unless the caller detaches it (``state.map(torch.detach)``).

        Args:
            state: the state before the words, of one sequence or of S sequences for each of B images.
            words: ``(M,)``, the input words, in packed order.
            packing: the place of each word.
            own_words: see ``teacher_force_by_steps``.

        Returns:
            The outputs, and the state after each sequence's last word.

        Raises:
            ValueError: the sequences differ in length, and a part of the decoder's state grows with every word.
        """
        outputs, states = self._advance_all(state, words, packing, own_words, keep=True)
        return outputs, _after_last_words(states, packing)

    def teacher_force_by_steps(
        self, features: Features, words: Tensor, packing: Packing, own_words: float = 0.0
    ) -> Outputs:
        """Feed whole captions in a plain loop over ``advance``; a test compares every ``teacher_force`` with this loop.

        Args:
            features: the features of B images.
            words: ``(M,)``, the input words, START first, in packed order.
            packing: the place of each word.
            own_words: the probability that a word after START is replaced by the decoder's own word, drawn from the
                distribution that the decoder has just predicted (scheduled sampling, Bengio et al. 2015, arXiv
                1506.03099).
        """
        return self._advance_all(self.start(features), words, packing, own_words)[0]

    def _advance_all(
        self, state: State, words: Tensor, packing: Packing, own_words: float = 0.0, keep: bool = False
    ) -> tuple[Outputs, list[State]]:
        """The outputs of all words, and the T + 1 states before, between and after them if ``keep`` is set."""
        B, S, _ = packing.shape
        tokens = packing.unpack(words)  # (B, S, T)
        if any(part.shape[1] != S for part in state.sequence.values()):
            state = state.reorder(torch.zeros(B, S, dtype=torch.long, device=tokens.device))
        hidden: list[Tensor] = []
        states = [state]
        traces: dict[str, list[Tensor]] = {name: [] for name in self.traced}
        for t in range(len(packing.sizes)):
            fed = tokens[:, :, t]
            if own_words and t > 0:
                fed = torch.where(torch.rand_like(fed, dtype=torch.float) < own_words, self._draw(hidden[-1]), fed)
            output, state = self.advance(fed, state)
            hidden.append(output)
            for name, values in traces.items():
                values.append(state.sequence[name])
            if keep:
                states.append(state)
        trace = {name: _pack_steps(values, packing) for name, values in traces.items()}
        return Outputs(_pack_steps(hidden, packing), trace), states

    @torch.no_grad()
    def _draw(self, hidden: Tensor) -> Tensor:
        """Draw the next words ``(B, S)`` after ``hidden (B, S, O)``."""
        p = self.logits(hidden).softmax(-1)
        return torch.multinomial(p.flatten(0, -2).float(), 1).view(p.shape[:-1])

    def load_vectors(self, path: str | Path, words: Sequence[str]) -> int:
        """Set the embedding of the words in a file of pretrained vectors, which is in GloVe's text format.

        Args:
            path: the file's path.
            words: the words of the vocabulary, in the order of their numbers.

        Returns:
            The number of words found.

        Raises:
            CaptioningError: the file cannot be read, or its vectors do not have the embedding's size.
        """
        return set_vectors(self.embedding, path, words)

    def losses(self, outputs: Outputs, features: Features, packing: Packing, log_likelihood: Tensor) -> dict[str, Sum]:
        """The decoder's own losses by name, beside the words' loss; training divides, adds and logs these losses.

        Args:
            outputs: the decoder's outputs for the batch.
            features: the features of the batch's B images.
            packing: the place of each word.
            log_likelihood: ``(M,)``, the log-probability of each target word.
        """
        return {}

    def forward(self, features: Features, tokens: Tensor) -> Tensor:
        """The logits of the next word at every position of captions, under teacher forcing.

        Args:
            features: the features of B images.
            tokens: ``(B, S, T)``, START first, ``<pad>`` after the end.

        Returns:
            ``(B, S, T, V)``, zero where ``tokens`` is ``<pad>``.
        """
        packing = Packing.of(tokens)
        return packing.unpack(self.logits(self.teacher_force(features, packing.pack(tokens), packing).hidden))


def check_fractions(**settings: float) -> None:
    """Refuse settings of a decoder that are not fractions.

    Raises:
        CaptioningError: a value is not from 0 to 1.
    """
    for name, value in settings.items():
        if not 0 <= value <= 1:
            raise CaptioningError(f"decoder.{name}={value}: take a fraction from 0 to 1.")


def image_vector(features: Features, part: str) -> Tensor:
    """One vector per image, ``(B, P)``: the part itself, or the mean over the part's regions."""
    values = features[part]
    return values if values.dim() == 2 else features.mean(part)


def _pack_steps(steps: list[Tensor], packing: Packing) -> Tensor:
    """T tensors ``(B, S, …)`` as one tensor in packed order, ``(M, …)``."""
    return torch.cat(
        [step.flatten(0, 1).index_select(0, packing.captions[:n]) for step, n in zip(steps, packing.sizes, strict=True)]
    )


def _after_last_words(states: list[State], packing: Packing) -> State:
    """The state after each sequence's last word, from the T + 1 states before, between and after the words."""
    B, S, _ = packing.shape
    if not packing.sizes or packing.sizes[-1] == B * S:
        return states[-1]
    ended = dict(states[0].sequence)
    for state, n in zip(states[1:], packing.sizes, strict=True):
        goes_on = torch.zeros(B * S, dtype=torch.bool, device=packing.captions.device)
        goes_on[packing.captions[:n]] = True
        for name, part in state.sequence.items():
            before = ended.get(name, part)
            if before.shape != part.shape:
                raise ValueError(f"The state's part {name!r} grows with every word: take sequences of one length.")
            ended[name] = torch.where(goes_on.view(B, S, *[1] * (part.dim() - 2)), part, before)
    return State(states[-1].image, ended)
