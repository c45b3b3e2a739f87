"""The recurrent network alone: a decoder without an image is a language model.

Of characters it is the lecture's min-char-rnn (Karpathy, "The Unreasonable Effectiveness of Recurrent Neural Networks",
2015) with any cell, to any depth, as in Karpathy, Johnson & Li, "Visualizing and Understanding Recurrent Networks",
2015, arXiv 1506.02078, section 3. Of captions it is the baseline that never sees the photograph.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from captioning.cells import Cell, Recurrent
from captioning.core.errors import CaptioningError
from captioning.core.features import Features, FeatureSpec
from captioning.core.packing import Packing
from captioning.core.state import State
from captioning.decoders.decoder import Decoder, Reading


class LanguageModel(Decoder):
    """``h = tanh(Wxh x + Whh h)``: ``NeuralTalk`` without ``Wih v``."""

    def __init__(
        self,
        vocabulary_size: int,
        features: FeatureSpec,
        cell: Callable[..., Cell],
        *,
        one_hot: bool = False,
        **common: Any,
    ) -> None:
        """Make the layers.

        Args:
            vocabulary_size: V.
            features: not looked at; they only say how many sequences begin.
            cell: makes one recurrent layer.
            one_hot: let a word be the unit vector of its number (E = V, nothing to learn), as in min-char-rnn, so that
                ``Wxh x`` is a column of ``Wxh``; for vocabularies of characters.
            common: what all decoders take, see ``Decoder``.

        Raises:
            CaptioningError: ``one_hot`` together with ``tied``, or see ``Decoder``.
        """
        if one_hot:
            if common.get("tied"):
                raise CaptioningError("decoder.one_hot leaves no embedding to tie: set decoder.tied=false.")
            common = {**common, "embedding_size": vocabulary_size}
        super().__init__(vocabulary_size, features, cell, **common)
        if one_hot:
            self.embedding.weight = nn.Parameter(torch.eye(vocabulary_size), requires_grad=False)
        self.embedding.padding_idx = None  # the first character of a text is one like the others
        self.recurrent = Recurrent(cell, self.embedding_size, self.hidden_size, self.depth, dropout=self.layer_dropout)

    def start(self, features: Features) -> State:
        """A state of zeros."""
        return State({}, {"hidden": self.recurrent.initial(features.images, 1, like=self.word_layer.weight)})

    def advance(self, tokens: Tensor, state: State) -> tuple[Tensor, State]:
        """One word: ``(B, S)`` to ``(B, S, H)``."""
        output, hidden = self.recurrent.step(self.embed(tokens), state.sequence["hidden"])
        return output, State({}, {"hidden": hidden})

    def read(self, features: Features, words: Tensor, packing: Packing) -> Reading:
        """Whole sequences, from a state of zeros."""
        B, S, _ = packing.shape
        state = self.start(features).reorder(torch.zeros(B, S, dtype=torch.long, device=words.device))
        return self.read_on(state, words, packing)[0]

    def read_on(self, state: State, words: Tensor, packing: Packing) -> tuple[Reading, State]:
        """Go on reading: what truncated back-propagation through time does, chunk after chunk.

        The gradient runs back into ``state`` unless that was cut off (``state.map(torch.detach)``).

        Args:
            state: of S sequences for each of B, before the words.
            words: ``(M,)`` the words that go in, in packed order.
            packing: where each of them stands.

        Returns:
            The reading, and the state after each sequence's last word.
        """
        hidden = state.sequence["hidden"]  # (B, S, depth, C)
        before = hidden.flatten(0, 1)  # (B·S, depth, C)
        output, after = self.recurrent.run(self.embed(words), packing.sizes, before.index_select(0, packing.captions))
        after = before.index_copy(0, packing.captions, after.to(before.dtype))
        return Reading(output), State({}, {"hidden": after.view_as(hidden)})
