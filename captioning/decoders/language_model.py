"""Language models: a recurrent decoder without an image.

On characters the model is the lecture's min-char-rnn (Karpathy, "The Unreasonable Effectiveness of Recurrent Neural
Networks", 2015) with any cell, to any depth, as in Karpathy, Johnson & Li, "Visualizing and Understanding Recurrent
Networks", 2015, arXiv 1506.02078, section 3. On captions the model is the baseline without the image.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from captioning.cells import Cell, Recurrent
from captioning.core.errors import CaptioningError
from captioning.core.features import Features, FeatureSpec
from captioning.core.state import State
from captioning.decoders.loop import Loop
from captioning.decoders.recurrent import RecurrentDecoder


class LanguageModel(RecurrentDecoder):
    """A language model ``h = tanh(Wxh x + Whh h)``: ``NeuralTalk`` without ``Wih v``."""

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
            vocabulary_size: V, the number of words.
            features: ignored.
            cell: a function that makes one recurrent layer.
            one_hot: whether the embedding of a word is the unit vector of its number (E = V, not trained), as in
                min-char-rnn, so that ``Wxh x`` is a column of ``Wxh``; for vocabularies of characters.
            common: the settings of ``RecurrentDecoder``.

        Raises:
            CaptioningError: ``one_hot`` and ``tied`` are both set, or see ``RecurrentDecoder``.
        """
        if one_hot:
            if common.get("tied"):
                raise CaptioningError("decoder.one_hot leaves no embedding to tie: set decoder.tied=false.")
            common = {**common, "embedding_size": vocabulary_size}
        super().__init__(vocabulary_size, features, cell, **common)
        if one_hot:
            self.embedding.weight = nn.Parameter(torch.eye(vocabulary_size), requires_grad=False)
        self.embedding.padding_idx = None  # number 0 is a character like any other
        self.recurrent = Recurrent(cell, self.embedding_size, self.hidden_size, self.depth, dropout=self.layer_dropout)

    def start(self, features: Features) -> State:
        """A state of zeros."""
        return State({}, {"hidden": self.recurrent.initial(features.images, 1, like=self.word_layer.weight)})

    def outputs(self, words: Tensor, loop: Loop) -> Tensor:
        """The hidden states ``(…, H)`` of words ``(…)``, by the equation."""
        return loop.run("hidden", self.recurrent, self.embed(words))
