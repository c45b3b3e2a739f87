"""Vinyals et al., "Show and Tell: A Neural Image Caption Generator" (NIC), CVPR 2015.

arXiv 1411.4555, equations 10 to 12: ``x_{-1} = CNN(I)``, ``x_t = We S_t``, ``p_{t+1} = LSTM(x_t)``. The image is
seen once, as the word before START, through a matrix that brings it to the words' width.

Deviations: the cell may be any and of any depth; the paper has one layer of LSTM (equations 4 to 9).
"""

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from captioning.cells import Cell, Recurrent
from captioning.core.features import Features, FeatureSpec
from captioning.core.state import State
from captioning.decoders.decoder import image_vector
from captioning.decoders.loop import Loop
from captioning.decoders.recurrent import RecurrentDecoder


class ShowTell(RecurrentDecoder):
    """The embedded image is the first word."""

    def __init__(
        self,
        vocabulary_size: int,
        features: FeatureSpec,
        cell: Callable[..., Cell],
        *,
        image: str = "pooled",
        **common: Any,
    ) -> None:
        """Make the layers.

        Args:
            vocabulary_size: V.
            features: the shapes of the encoder's features.
            cell: makes one recurrent layer.
            image: the part of the features that is CNN(I); of a part with regions, their mean.
            common: the settings of ``RecurrentDecoder``.

        Raises:
            CaptioningError: the encoder has no such part, or see ``RecurrentDecoder``.
        """
        super().__init__(vocabulary_size, features, cell, **common)
        self.image, self.reads = image, (image,)
        self.image_embedding = nn.Linear(features.size(image), self.embedding_size)
        self.recurrent = Recurrent(cell, self.embedding_size, self.hidden_size, self.depth, dropout=self.layer_dropout)

    def start(self, features: Features) -> State:
        """The state after the image as a word: one step per image, for all of its captions."""
        x = self.image_embedding(image_vector(features, self.image)).unsqueeze(1)  # (B, 1, E)
        _, hidden = self.recurrent.step(x, self.recurrent.initial(len(x), 1, like=x))
        return State({}, {"hidden": hidden})

    def outputs(self, words: Tensor, loop: Loop) -> Tensor:
        """Equations 11 and 12: words ``(…)`` to hidden states ``(…, H)``."""
        return loop.run("hidden", self.recurrent, self.embed(words))
