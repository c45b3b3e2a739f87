"""Karpathy & Fei-Fei, "Deep Visual-Semantic Alignments for Generating Image Descriptions", CVPR 2015.

arXiv 1412.2306, section 3.2, equations 13 to 15: ``h_t = f(Whx x_t + Whh h_{t-1} + bh + 1(t = 1) · bv)`` with
``bv = Whi v``. The lecture writes the image's matrix ``Wih``, and so do we.

Deviations: f is tanh (the lecture's) where the paper has ReLU; the cell may be an LSTM or a GRU, with the same term in
every gate; the image may enter at every step (as in the authors' first code) and not at the first alone.
"""

from collections.abc import Callable
from typing import Any, Literal

from torch import Tensor

from captioning.cells import Cell, Recurrent
from captioning.core.features import Features, FeatureSpec
from captioning.core.packing import Packing
from captioning.core.state import State
from captioning.decoders.decoder import Decoder, Reading


class NeuralTalk(Decoder):
    """The lecture's captioner: ``h = tanh(Wxh x + Whh h + Wih v)``."""

    def __init__(
        self,
        vocabulary_size: int,
        features: FeatureSpec,
        cell: Callable[..., Cell],
        *,
        inject: Literal["first", "every"] = "every",
        image_layer: int = 0,
        **common: Any,
    ) -> None:
        """Make the layers.

        Args:
            vocabulary_size: V.
            features: the sizes of what the encoder gives.
            cell: makes one recurrent layer.
            inject: whether ``Wih v`` is added at the ``first`` step alone or at ``every`` step.
            image_layer: the layer that it enters, the lowest by default; counted from the highest where negative.
            common: what all decoders take, see ``Decoder``.
        """
        super().__init__(vocabulary_size, features, cell, **common)
        self.inject = inject
        self.recurrent = Recurrent(
            cell,
            self.embedding_size,
            self.hidden_size,
            self.depth,
            image_size=features.size("pooled"),
            image_layer=image_layer % self.depth,
            dropout=self.layer_dropout,
        )

    def start(self, features: Features) -> State:
        """``Wih v`` once per photograph, and a state of zeros."""
        image = self.recurrent.image(features["pooled"])  # (B, G·H)
        return State({"Wih v": image}, {"hidden": self.recurrent.initial(len(image), 1, like=image)})

    def advance(self, tokens: Tensor, state: State) -> tuple[Tensor, State]:
        """One word: ``(B, S)`` to ``(B, S, H)``."""
        image = state.image["Wih v"].unsqueeze(1) if state.image else None  # (B, 1, G·H)
        output, hidden = self.recurrent.step(self.embed(tokens), state.sequence["hidden"], image)
        return output, State(state.image if self.inject == "every" else {}, {"hidden": hidden})

    def read(self, features: Features, words: Tensor, packing: Packing) -> Reading:
        """Whole captions: all but ``Whh h`` is computed outside of the loop over words."""
        state = self.start(features)
        rows = packing.row_images if self.inject == "every" else packing.images
        image = state.image["Wih v"].index_select(0, rows)  # not image[rows], whose gradient is far slower on CPU
        before = state.sequence["hidden"].squeeze(1).index_select(0, packing.images)
        hidden, _ = self.recurrent.run(self.embed(words), packing.sizes, before, image)
        return Reading(hidden)
