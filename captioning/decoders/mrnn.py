"""Mao et al., "Deep Captioning with Multimodal Recurrent Neural Networks (m-RNN)", ICLR 2015.

arXiv 1412.6632, section 4: two word embedding layers, a recurrent layer (equation 2), a multimodal layer that adds the
projections of word, recurrent layer and image (equation 3), and its scaled tanh (equation 4).

Deviations: the recurrent layer may be any cell of any depth, with its own ``Wxh``; the paper adds the embedded word to
``Ur r`` and uses ReLU. The settings of all decoders choose the dropout.
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


class MRNN(RecurrentDecoder):
    """The m-RNN: the image stays outside of the recurrence, and joins word and hidden state in a multimodal layer."""

    def __init__(
        self,
        vocabulary_size: int,
        features: FeatureSpec,
        cell: Callable[..., Cell],
        *,
        image: str = "pooled",
        second_embedding_size: int = 512,
        multimodal_size: int = 512,
        **common: Any,
    ) -> None:
        """Make the layers.

        Args:
            vocabulary_size: V, the number of words.
            features: the shapes of the encoder's features.
            cell: a function that makes one recurrent layer.
            image: the name of the part of the features that is I; for a part with regions, I is their mean.
            second_embedding_size: W, the width of the second embedding layer.
            multimodal_size: O, the width of the multimodal layer, which is the output layer's input.
            common: the settings of ``RecurrentDecoder``.

        Raises:
            CaptioningError: the encoder has no such part, or see ``RecurrentDecoder``.
        """
        super().__init__(vocabulary_size, features, cell, output_size=multimodal_size, **common)
        self.image, self.reads = image, (image,)
        W, H = second_embedding_size, self.hidden_size
        self.second_embedding = nn.Linear(self.embedding_size, W)
        self.recurrent = Recurrent(cell, W, H, self.depth, dropout=self.layer_dropout)
        self.Vw = nn.Linear(W, multimodal_size)
        self.Vr = nn.Linear(H, multimodal_size, bias=False)
        self.VI = nn.Linear(features.size(image), multimodal_size, bias=False)

    def start(self, features: Features) -> State:
        """The term ``VI I``, computed once per image, and a state of zeros."""
        image = self.VI(image_vector(features, self.image))  # (B, O)
        return State({"VI I": image}, {"hidden": self.recurrent.initial(len(image), 1, like=image)})

    def outputs(self, words: Tensor, loop: Loop) -> Tensor:
        """The multimodal layer ``(…, O)`` of words ``(…)``, by equations 3 and 4."""
        w = self.second_embedding(self.embed(words))
        r = loop.run("hidden", self.recurrent, w)
        return scaled_tanh(self.Vw(w) + self.Vr(r) + loop.image("VI I"))


def scaled_tanh(x: Tensor) -> Tensor:
    """The scaled tanh ``1.7159 tanh(2x/3)`` (LeCun et al., "Efficient BackProp", 1998)."""
    return 1.7159 * (x * (2 / 3)).tanh()
