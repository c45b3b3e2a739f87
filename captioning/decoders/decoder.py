"""What a captioner is: a language model on the condition of a photograph.

Dimensions: B images, S sequences of an image (captions in training, beams in search), T words, M words of a packed
batch, E embedding, H hidden, O what the word layer reads, V vocabulary.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from captioning.cells import Cell
from captioning.core.errors import CaptioningError
from captioning.core.features import Features, FeatureSpec
from captioning.core.packing import Packing
from captioning.core.state import State
from captioning.core.vocabulary import PAD
from captioning.decoders.embeddings import load_glove
from captioning.speed.dropout import Dropout
from captioning.speed.linear import Linear


@dataclass(frozen=True)
class Reading:
    """What a decoder makes of whole captions under teacher forcing.

    Attributes:
        hidden: ``(M, O)``, what the word layer reads, one row for each word to be said, in packed order.
        trace: ``(M, …)`` by name, what else the decoder's own losses need (attention weights, reconstructions).
    """

    hidden: Tensor
    trace: dict[str, Tensor] = field(default_factory=dict)


class Decoder(nn.Module, ABC):
    """A captioner: ``start`` and ``advance`` are all that one has to write.

    ``step`` (for search) and ``read`` (teacher forcing, for training) follow from the two. A decoder may write ``read``
    again for speed; a test shared by all decoders holds it to the loop of steps, value for value.

    Attributes:
        reads: which parts of the features it reads: ``"pooled"``, ``"grid"`` or both.
        traced: names of ``State.sequence`` that its own losses need at every word.
        embedding: words to vectors, ``(V, E)``.
        word_layer: from what ``advance`` returns to the logits of all words, O to V.
    """

    reads: tuple[str, ...] = ("pooled",)
    traced: tuple[str, ...] = ()

    def __init__(
        self,
        vocabulary_size: int,
        features: FeatureSpec,
        cell: Callable[..., Cell],
        *,
        embedding_size: int = 512,
        hidden_size: int = 512,
        depth: int = 1,
        image_dropout: float = 0.0,
        embedding_dropout: float = 0.0,
        layer_dropout: float = 0.0,
        output_dropout: float = 0.0,
        tied: bool = False,
        output_size: int | None = None,
    ) -> None:
        """Make what all decoders have: the embedding and the word layer.

        Args:
            vocabulary_size: V.
            features: the sizes of what the encoder gives.
            cell: makes one recurrent layer from ``input_size``, ``hidden_size`` and ``image_size``.
            embedding_size: E.
            hidden_size: H.
            depth: the number of recurrent layers.
            image_dropout: the share of the features' numbers dropped in training.
            embedding_dropout: the share of embedded words' numbers dropped in training.
            layer_dropout: the same between recurrent layers.
            output_dropout: the same before the word layer.
            tied: let the word layer use the embedding's weights (Press & Wolf 2017, arXiv 1608.05859).
            output_size: O; H where not given.

        Raises:
            CaptioningError: ``tied`` with O ≠ E, no layer, or a share that is none.
        """
        super().__init__()
        if depth < 1:
            raise CaptioningError(f"decoder.depth={depth}: take 1 recurrent layer or more.")
        dropouts = {
            "image": image_dropout,
            "embedding": embedding_dropout,
            "layer": layer_dropout,
            "output": output_dropout,
        }
        for place, share in dropouts.items():
            if not 0 <= share <= 1:
                raise CaptioningError(f"decoder.{place}_dropout={share}: take a share from 0 to 1.")
        self.features = features
        self.cell = cell
        self.embedding_size, self.hidden_size, self.depth = embedding_size, hidden_size, depth
        self.layer_dropout = layer_dropout
        output_size = output_size or hidden_size
        self.embedding = nn.Embedding(vocabulary_size, embedding_size, padding_idx=PAD)
        self.image_dropout = Dropout(image_dropout)
        self.embedding_dropout = Dropout(embedding_dropout)
        self.output_dropout = Dropout(output_dropout)
        self.word_layer = Linear(output_size, vocabulary_size)
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
        """Take in one word of every sequence.

        Args:
            tokens: ``(B, S)`` the previous words.
            state: the state before them.

        Returns:
            ``(B, S, O)``, what the word layer reads for the next word, and the next state.
        """

    def step(self, tokens: Tensor, state: State) -> tuple[Tensor, State]:
        """The logits ``(B, S, V)`` of the next word after ``tokens (B, S)``, and the next state."""
        hidden, state = self.advance(tokens, state)
        return self.logits(hidden), state

    def logits(self, hidden: Tensor) -> Tensor:
        """``(…, O)`` to ``(…, V)``."""
        logits: Tensor = self.word_layer(self.output_dropout(hidden))
        return logits

    def embed(self, tokens: Tensor) -> Tensor:
        """Words ``(…)`` to vectors ``(…, E)``, with dropout in training."""
        embedded: Tensor = self.embedding_dropout(self.embedding(tokens))
        return embedded

    def see(self, features: Features) -> Features:
        """The features as training shows them to the decoder: with dropout."""
        return features.map(self.image_dropout) if self.training else features

    def read(self, features: Features, words: Tensor, packing: Packing) -> Reading:
        """Teacher forcing: read whole captions.

        Args:
            features: of B photographs.
            words: ``(M,)`` the words that go in, START first, in packed order.
            packing: where each of them stands.
        """
        return self.read_by_steps(features, words, packing)

    def read_by_steps(self, features: Features, words: Tensor, packing: Packing, sampling: float = 0.0) -> Reading:
        """``read`` as a plain loop over ``advance``: the definition that every faster ``read`` is held to.

        Args:
            features: of B photographs.
            words: ``(M,)`` the words that go in, START first, in packed order.
            packing: where each of them stands.
            sampling: for each word after START, the probability that the model's own word, drawn from what it has just
                predicted, goes in instead (scheduled sampling, Bengio et al. 2015, arXiv 1506.03099).
        """
        B, S, _ = packing.shape
        tokens = packing.unpack(words)  # (B, S, T)
        state = self.start(features)
        state = state.reorder(torch.zeros(B, S, dtype=torch.long, device=tokens.device))
        hidden: list[Tensor] = []
        trace: dict[str, list[Tensor]] = {name: [] for name in self.traced}
        for t in range(len(packing.sizes)):
            fed = tokens[:, :, t]
            if sampling and t > 0:
                fed = torch.where(torch.rand_like(fed, dtype=torch.float) < sampling, self._say(hidden[-1]), fed)
            output, state = self.advance(fed, state)
            hidden.append(output)
            for name, values in trace.items():
                values.append(state.sequence[name])
        return Reading(
            _pack_steps(hidden, packing), {name: _pack_steps(values, packing) for name, values in trace.items()}
        )

    @torch.no_grad()
    def _say(self, hidden: Tensor) -> Tensor:
        """Draw the next words ``(B, S)`` after ``hidden (B, S, O)``."""
        p = self.logits(hidden).softmax(-1)
        return torch.multinomial(p.flatten(0, -2).float(), 1).view(p.shape[:-1])

    def load_vectors(self, path: str | Path, words: Sequence[str]) -> int:
        """Begin with pretrained word vectors, read from GloVe's text form, for the words that the file has.

        Args:
            path: of the file.
            words: of the vocabulary, in the order of their numbers.

        Returns:
            How many of the words were found.

        Raises:
            CaptioningError: the file cannot be read, or its vectors are not of the embedding's size.
        """
        numbers, vectors = load_glove(path, words, self.embedding_size)
        with torch.no_grad():
            self.embedding.weight[numbers] = vectors.to(self.embedding.weight)
        return len(numbers)

    def losses(
        self, reading: Reading, features: Features, packing: Packing, log_likelihood: Tensor
    ) -> dict[str, Tensor]:
        """What this decoder adds to the words' loss, by name; training sums and logs.

        Args:
            reading: of the batch.
            features: of its B photographs.
            packing: where each word stands.
            log_likelihood: ``(M,)`` of the words that were to be said.
        """
        return {}

    def forward(self, features: Features, tokens: Tensor) -> Tensor:
        """The logits of the next word at every place of captions, under teacher forcing.

        Args:
            features: of B photographs.
            tokens: ``(B, S, T)``, START first, ``<pad>`` after the end.

        Returns:
            ``(B, S, T, V)``, zero where ``tokens`` is ``<pad>``.
        """
        packing = Packing.of(tokens)
        return packing.unpack(self.logits(self.read(features, packing.pack(tokens), packing).hidden))


def _pack_steps(steps: list[Tensor], packing: Packing) -> Tensor:
    """T tensors ``(B, S, …)`` to one ``(M, …)``."""
    return torch.cat(
        [step.flatten(0, 1).index_select(0, packing.captions[:n]) for step, n in zip(steps, packing.sizes, strict=True)]
    )
