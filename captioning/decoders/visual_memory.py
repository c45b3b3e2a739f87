"""Chen & Zitnick, "Mind's Eye: A Recurrent Visual Representation for Image Caption Generation", CVPR 2015.

arXiv 1411.5654 ("Learning a Recurrent Visual Representation …"), section 3. Beside the language's hidden state there is
a recurrent visual memory u: at every word it reconstructs the photograph's features v from the words said so far, and
what it already says of the photograph is compared with v itself when the next word is chosen.

::

    u_t = f(Wxu x_t + Wuu u_{t-1})                 ṽ_t = Wuv u_t
    h_t = f(Wxh [x_t; u_t] + Whh h_{t-1} + Wih v)

Deviations: both recurrences may be of any cell (the paper: sigmoid for the language, ReLU for the memory); u reads the
words and its own past alone, so that it cannot copy the v that it is to reconstruct; the words' probabilities are a
plain softmax, without classes of words and maximum-entropy features; the loss is the mean square over the numbers of v.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from captioning.cells import Cell, Recurrent
from captioning.core.features import Features, FeatureSpec
from captioning.core.packing import Packing
from captioning.core.state import State
from captioning.decoders.decoder import Decoder, Reading
from captioning.speed.linear import Linear


class VisualMemory(Decoder):
    """Remembers what it has already said of the photograph by imagining its features."""

    traced = ("visual memory",)

    def __init__(
        self,
        vocabulary_size: int,
        features: FeatureSpec,
        cell: Callable[..., Cell],
        *,
        memory_size: int = 512,
        reconstruction: float = 1.0,
        **common: Any,
    ) -> None:
        """Make the layers.

        Args:
            vocabulary_size: V.
            features: the sizes of what the encoder gives.
            cell: makes one recurrent layer, of the language and of the memory.
            memory_size: U, the size of the visual memory.
            reconstruction: the weight of the reconstruction's loss.
            common: what all decoders take, see ``Decoder``.
        """
        super().__init__(vocabulary_size, features, cell, **common)
        self.reconstruction = reconstruction
        E, P, U = self.embedding_size, features.size("pooled"), memory_size
        self.memory = Recurrent(cell, E, U)
        self.recurrent = Recurrent(cell, E + U, self.hidden_size, self.depth, image_size=P, dropout=self.layer_dropout)
        self.Wuv = Linear(U, P)

    def start(self, features: Features) -> State:
        """``Wih v`` once per photograph, and both recurrences at zero."""
        image = self.recurrent.image(features["pooled"])  # (B, G·H)
        states = {"hidden": self.recurrent, "memory": self.memory}
        return State({"Wih v": image}, {name: net.initial(len(image), 1, like=image) for name, net in states.items()})

    def advance(self, tokens: Tensor, state: State) -> tuple[Tensor, State]:
        """One word: ``(B, S)`` to ``(B, S, H)``."""
        x = self.embed(tokens)
        u, memory = self.memory.step(x, state.sequence["memory"])
        image = state.image["Wih v"].unsqueeze(1)  # (B, 1, G·H)
        top, hidden = self.recurrent.step(torch.cat([x, u], dim=-1), state.sequence["hidden"], image)
        return top, State(state.image, {"hidden": hidden, "memory": memory, "visual memory": u})

    def read(self, features: Features, words: Tensor, packing: Packing) -> Reading:
        """Whole captions: the memory does not depend on the language's state, so that it is read first."""
        state = self.start(features)
        before = {name: part.squeeze(1).index_select(0, packing.images) for name, part in state.sequence.items()}
        x = self.embed(words)  # (M, E)
        u, _ = self.memory.run(x, packing.sizes, before["memory"])  # (M, U)
        image = state.image["Wih v"].index_select(0, packing.row_images)  # (M, G·H)
        top, _ = self.recurrent.run(torch.cat([x, u], dim=-1), packing.sizes, before["hidden"], image)
        return Reading(top, {"visual memory": u})

    def losses(
        self, reading: Reading, features: Features, packing: Packing, log_likelihood: Tensor
    ) -> dict[str, Tensor]:
        """How far the features imagined after each word are from the photograph's."""
        seen = features["pooled"].index_select(0, packing.row_images)  # (M, P)
        return {"reconstruction": self.reconstruction * F.mse_loss(self.Wuv(reading.trace["visual memory"]), seen)}
