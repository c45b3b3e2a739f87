"""Vinyals et al., "Show and Tell: A Neural Image Caption Generator" (NIC), CVPR 2015.

arXiv 1411.4555, equations 10 to 12: ``x_{-1} = CNN(I)``, ``x_t = We S_t``, ``p_{t+1} = LSTM(x_t)``. The image enters
once, as the word before START, through a matrix that projects the image to the words' width.

Deviations: the cell may be any cell of any depth; the paper has one layer of LSTM (equations 4 to 9). The embedded
image may be normalised (``image_norm``): its numbers are then as large as a layer of recurrent units expects. The
paper's network gets no such help, and a photograph of fifty times a word's deviation saturates the gates.
"""

from collections.abc import Callable
from typing import Any, Literal

from torch import Tensor, nn

from captioning.cells import Cell, Recurrent
from captioning.core.features import Features, FeatureSpec
from captioning.core.state import State
from captioning.decoders.decoder import image_vector
from captioning.decoders.loop import Loop
from captioning.decoders.norms import make_norm
from captioning.decoders.recurrent import RecurrentDecoder


class ShowTell(RecurrentDecoder):
    """A captioner whose first input word is the embedded image."""

    def __init__(
        self,
        vocabulary_size: int,
        features: FeatureSpec,
        cell: Callable[..., Cell],
        *,
        image: str = "pooled",
        image_norm: Literal["batch", "layer"] | None = None,
        **common: Any,
    ) -> None:
        """Make the layers.

        Args:
            vocabulary_size: V, the number of words.
            features: the shapes of the encoder's features.
            cell: a function that makes one recurrent layer.
            image: the name of the part of the features that is CNN(I); for a part with regions, CNN(I) is their mean.
            image_norm: the normalisation of the embedded image: ``batch`` over the photographs of a batch, ``layer``
                over the numbers of each photograph, see ``make_norm``; None for none.
            common: the settings of ``RecurrentDecoder``.

        Raises:
            CaptioningError: the encoder has no such part, ``image_norm`` is something else, or see
                ``RecurrentDecoder``.
        """
        super().__init__(vocabulary_size, features, cell, **common)
        self.image, self.reads = image, (image,)
        self.image_embedding = nn.Linear(features.size(image), self.embedding_size)
        self.image_norm = make_norm("image_norm", image_norm, self.embedding_size)
        self.recurrent = Recurrent(cell, self.embedding_size, self.hidden_size, self.depth, dropout=self.layer_dropout)

    def start(self, features: Features) -> State:
        """The state after the image as a word: one step per image, for all captions of the image."""
        x = self.image_norm(self.image_embedding(image_vector(features, self.image))).unsqueeze(1)  # (B, 1, E)
        _, hidden = self.recurrent.step(x, self.recurrent.initial(len(x), 1, like=x))
        return State({}, {"hidden": hidden})

    def outputs(self, words: Tensor, loop: Loop) -> Tensor:
        """The hidden states ``(…, H)`` of words ``(…)``, by equations 11 and 12."""
        return loop.run("hidden", self.recurrent, self.embed(words))
