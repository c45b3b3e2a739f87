"""Karpathy & Fei-Fei, "Deep Visual-Semantic Alignments for Generating Image Descriptions", CVPR 2015.

arXiv 1412.2306, section 3.2, equations 13 to 15: ``h_t = f(Whx x_t + Whh h_{t-1} + bh + 1(t = 1) · bv)`` with
``bv = Whi v``. The lecture and this class name the image's matrix ``Wih``.

Deviations: f is tanh (the lecture's) instead of the paper's ReLU; the cell may be an LSTM or a GRU, with the same term
in every gate; the image may enter at every step (as in the authors' first code) instead of the first alone.
"""

from collections.abc import Callable
from typing import Any, Literal

from torch import Tensor

from captioning.cells import Cell, Recurrent
from captioning.core.features import Features, FeatureSpec
from captioning.core.state import State
from captioning.decoders.decoder import image_vector
from captioning.decoders.loop import Loop
from captioning.decoders.recurrent import RecurrentDecoder


class NeuralTalk(RecurrentDecoder):
    """The lecture's captioner: ``h = tanh(Wxh x + Whh h + Wih v)``."""

    def __init__(
        self,
        vocabulary_size: int,
        features: FeatureSpec,
        cell: Callable[..., Cell],
        *,
        image: str = "pooled",
        inject: Literal["first", "every"] = "every",
        image_layer: int = 0,
        **common: Any,
    ) -> None:
        """Make the layers.

        Args:
            vocabulary_size: V, the number of words.
            features: the shapes of the encoder's features.
            cell: a function that makes one recurrent layer.
            image: the name of the part of the features that is v; for a part with regions, v is their mean.
            inject: whether ``Wih v`` is added at the ``first`` step alone or at ``every`` step.
            image_layer: the layer that ``Wih v`` enters, from 0, the lowest; counted from the highest where negative.
            common: the settings of ``RecurrentDecoder``.

        Raises:
            CaptioningError: the encoder has no such part, or see ``RecurrentDecoder``.
        """
        super().__init__(vocabulary_size, features, cell, **common)
        self.image, self.reads, self.inject = image, (image,), inject
        self.recurrent = Recurrent(
            cell,
            self.embedding_size,
            self.hidden_size,
            self.depth,
            image_size=features.size(image),
            image_layer=image_layer % self.depth,
            dropout=self.layer_dropout,
        )

    def start(self, features: Features) -> State:
        """The term ``Wih v``, computed once per image, and a state of zeros."""
        image = self.recurrent.image(image_vector(features, self.image))  # (B, G·H)
        return State({"Wih v": image}, {"hidden": self.recurrent.initial(len(image), 1, like=image)})

    def outputs(self, words: Tensor, loop: Loop) -> Tensor:
        """The hidden states ``(…, H)`` of words ``(…)``, by the equation."""
        image = loop.image("Wih v") if self.inject == "every" else loop.image_first("Wih v")
        return loop.run("hidden", self.recurrent, self.embed(words), image)
