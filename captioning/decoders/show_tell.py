"""Vinyals et al., "Show and Tell: A Neural Image Caption Generator" (NIC), CVPR 2015.

arXiv 1411.4555, equations 10 to 12: ``x_{-1} = CNN(I)``, ``x_t = We S_t``, ``p_{t+1} = LSTM(x_t)``. The photograph is
seen once, as the word before START, through a matrix that brings it to the words' width.

Deviations: the cell may be any and of any depth; the paper has one layer of LSTM (equations 4 to 9).
"""

from collections.abc import Callable
from typing import Any

from torch import Tensor

from captioning.cells import Cell, Recurrent
from captioning.core.features import Features, FeatureSpec
from captioning.core.packing import Packing
from captioning.core.state import State
from captioning.decoders.decoder import Decoder, Reading
from captioning.speed.linear import Linear


class ShowTell(Decoder):
    """The embedded photograph is the first word."""

    def __init__(self, vocabulary_size: int, features: FeatureSpec, cell: Callable[..., Cell], **common: Any) -> None:
        """Make the layers; the arguments are those of ``Decoder``."""
        super().__init__(vocabulary_size, features, cell, **common)
        self.image_embedding = Linear(features.size("pooled"), self.embedding_size)
        self.recurrent = Recurrent(cell, self.embedding_size, self.hidden_size, self.depth, dropout=self.layer_dropout)

    def start(self, features: Features) -> State:
        """The state after the photograph has been read as a word."""
        image = self.image_embedding(features["pooled"]).unsqueeze(1)  # (B, 1, E)
        _, hidden = self.recurrent.step(image, self.recurrent.initial(len(image), 1, like=image))
        return State(sequence={"hidden": hidden})

    def advance(self, tokens: Tensor, state: State) -> tuple[Tensor, State]:
        """One word: ``(B, S)`` to ``(B, S, H)``."""
        output, hidden = self.recurrent.step(self.embed(tokens), state.sequence["hidden"])
        return output, State(sequence={"hidden": hidden})

    def read(self, features: Features, words: Tensor, packing: Packing) -> Reading:
        """Whole captions: the photograph is read once for all of its captions."""
        before = self.start(features).sequence["hidden"].squeeze(1).index_select(0, packing.images)
        hidden, _ = self.recurrent.run(self.embed(words), packing.sizes, before)
        return Reading(hidden)
