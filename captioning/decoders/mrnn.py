"""Mao et al., "Deep Captioning with Multimodal Recurrent Neural Networks (m-RNN)", ICLR 2015.

arXiv 1412.6632, section 4: two word embedding layers, a recurrent layer (equation 2), a multimodal layer that adds the
projections of word, recurrent layer and photograph (equation 3), and its scaled tanh (equation 4).

Deviations: the recurrent layer may be any cell of any depth, with its own ``Wxh``, where the paper adds the embedded
word to ``Ur r`` and takes ReLU. Dropout is chosen by the settings common to all decoders.
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


class MRNN(Decoder):
    """The photograph never enters the recurrence: it meets word and hidden state in a layer of their own."""

    def __init__(
        self,
        vocabulary_size: int,
        features: FeatureSpec,
        cell: Callable[..., Cell],
        *,
        second_embedding_size: int = 512,
        multimodal_size: int = 512,
        **common: Any,
    ) -> None:
        """Make the layers.

        Args:
            vocabulary_size: V.
            features: the sizes of what the encoder gives.
            cell: makes one recurrent layer.
            second_embedding_size: W, the width of the second embedding layer.
            multimodal_size: O, the width of the multimodal layer, which the word layer reads.
            common: what all decoders take, see ``Decoder``.
        """
        super().__init__(vocabulary_size, features, cell, output_size=multimodal_size, **common)
        W, H = second_embedding_size, self.hidden_size
        self.second_embedding = Linear(self.embedding_size, W)
        self.recurrent = Recurrent(cell, W, H, self.depth, dropout=self.layer_dropout)
        self.Vw = Linear(W, multimodal_size)
        self.Vr = Linear(H, multimodal_size, bias=False)
        self.VI = Linear(features.size("pooled"), multimodal_size, bias=False)

    def start(self, features: Features) -> State:
        """``VI I`` once per photograph, and a state of zeros."""
        image = self.VI(features["pooled"])  # (B, O)
        return State({"VI I": image}, {"hidden": self.recurrent.initial(len(image), 1, like=image)})

    def advance(self, tokens: Tensor, state: State) -> tuple[Tensor, State]:
        """One word: ``(B, S)`` to ``(B, S, O)``."""
        word = self.second_embedding(self.embed(tokens))
        top, hidden = self.recurrent.step(word, state.sequence["hidden"])
        return self._multimodal(word, top, state.image["VI I"].unsqueeze(1)), State(state.image, {"hidden": hidden})

    def read(self, features: Features, words: Tensor, packing: Packing) -> Reading:
        """Whole captions: the recurrent layer alone is inside of the loop over words."""
        state = self.start(features)
        word = self.second_embedding(self.embed(words))  # (M, W)
        before = state.sequence["hidden"].squeeze(1).index_select(0, packing.images)
        top, _ = self.recurrent.run(word, packing.sizes, before)
        return Reading(self._multimodal(word, top, state.image["VI I"].index_select(0, packing.row_images)))

    def _multimodal(self, word: Tensor, top: Tensor, image: Tensor) -> Tensor:
        """Equations 3 and 4: ``g(Vw w + Vr r + VI I)`` with ``g(x) = 1.7159 tanh(2x/3)`` (LeCun et al. 1998)."""
        added: Tensor = self.Vw(word) + self.Vr(top) + image
        return 1.7159 * (added * (2 / 3)).tanh()
