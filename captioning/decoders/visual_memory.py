"""Chen & Zitnick, "Mind's Eye: A Recurrent Visual Representation for Image Caption Generation", CVPR 2015.

arXiv 1411.5654 ("Learning a Recurrent Visual Representation …"), section 3. Beside the language's hidden state there is
a recurrent visual memory u. At every word u reconstructs the image's features v from the words so far, and the next
word depends on both u and v: on what the words have already said of the image, and on the image.

::

    u_t = f(Wxu x_t + Wuu u_{t-1})                 ṽ_t = Wuv u_t
    h_t = f(Wxh [x_t; u_t] + Whh h_{t-1} + Wih v)

Deviations: both recurrences may use any cell (the paper: sigmoid for the language, ReLU for the memory); u reads the
words and its own past alone, so that u cannot copy the v that u must reconstruct; the words' probabilities are a plain
softmax, without word classes and maximum-entropy features; the loss is the mean square over the numbers of v.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from captioning.cells import Cell, Recurrent
from captioning.core.features import Features, FeatureSpec
from captioning.core.packing import Packing
from captioning.core.state import State
from captioning.core.sums import Sum
from captioning.decoders.decoder import Outputs, image_vector
from captioning.decoders.loop import Loop
from captioning.decoders.recurrent import RecurrentDecoder


class VisualMemory(RecurrentDecoder):
    """A captioner with a visual memory, which reconstructs the image's features from the words so far."""

    traced = ("visual memory",)

    def __init__(
        self,
        vocabulary_size: int,
        features: FeatureSpec,
        cell: Callable[..., Cell],
        *,
        image: str = "pooled",
        memory_size: int = 512,
        reconstruction: float = 1.0,
        **common: Any,
    ) -> None:
        """Make the layers.

        Args:
            vocabulary_size: V, the number of words.
            features: the shapes of the encoder's features.
            cell: a function that makes one recurrent layer, of the language and of the memory.
            image: the name of the part of the features that is v; for a part with regions, v is their mean.
            memory_size: U, the size of the visual memory.
            reconstruction: the weight of the reconstruction's loss.
            common: the settings of ``RecurrentDecoder``.

        Raises:
            CaptioningError: the encoder has no such part, or see ``RecurrentDecoder``.
        """
        super().__init__(vocabulary_size, features, cell, **common)
        self.image, self.reads, self.reconstruction = image, (image,), reconstruction
        E, P, U = self.embedding_size, features.size(image), memory_size
        self.memory = Recurrent(cell, E, U)
        self.recurrent = Recurrent(cell, E + U, self.hidden_size, self.depth, image_size=P, dropout=self.layer_dropout)
        self.Wuv = nn.Linear(U, P)

    def start(self, features: Features) -> State:
        """The term ``Wih v``, computed once per image, and zero states of both recurrences."""
        image = self.recurrent.image(image_vector(features, self.image))  # (B, G·H)
        layers = {"hidden": self.recurrent, "memory": self.memory}
        return State({"Wih v": image}, {name: each.initial(len(image), 1, like=image) for name, each in layers.items()})

    def outputs(self, words: Tensor, loop: Loop) -> Tensor:
        """The hidden states ``(…, H)`` of words ``(…)``, by the equations of u and h."""
        x = self.embed(words)
        u = loop.run("memory", self.memory, x)
        loop.trace("visual memory", u)
        return loop.run("hidden", self.recurrent, torch.cat([x, u], dim=-1), loop.image("Wih v"))

    def losses(self, outputs: Outputs, features: Features, packing: Packing, log_likelihood: Tensor) -> dict[str, Sum]:
        """The mean square of ``ṽ - v`` over the P numbers of v, summed over the words."""
        imagined = self.Wuv(outputs.trace["visual memory"])  # (M, P)
        v = image_vector(features, self.image).index_select(0, packing.row_images)
        squares = F.mse_loss(imagined, v, reduction="sum") / v.shape[-1]
        return {"reconstruction": Sum(self.reconstruction * squares, len(v))}
