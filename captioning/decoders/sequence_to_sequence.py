"""Sutskever, Vinyals & Le, "Sequence to Sequence Learning with Neural Networks", NIPS 2014.

arXiv 1409.3215, section 2, equation 1: the decoder's initial state is the representation v of the input, the encoder's
last state, and nothing else of the input reaches the decoder.

Deviations: the cell may be any cell of any depth. A state of another shape than the decoder's, such as that of an
encoder in both directions or the single vector of a photograph, passes ``tanh(W v + b)`` first.
"""

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from captioning.cells import Cell, Recurrent
from captioning.core.features import Features, FeatureSpec
from captioning.core.state import State
from captioning.decoders.loop import Loop
from captioning.decoders.recurrent import RecurrentDecoder


class SequenceToSequence(RecurrentDecoder):
    """A decoder that begins in the encoder's last state.

    Attributes:
        bridge: the layer from another state to the initial one; None where the encoder's state has the decoder's shape.
    """

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
            vocabulary_size: V, the number of words.
            features: the shapes of the encoder's features.
            cell: a function that makes one recurrent layer.
            image: the name of the part of the features that is v: ``state`` of an encoder of sentences, ``pooled`` of a
                photograph or a sentence; for a part with regions or words v is their mean.
            common: the settings of ``RecurrentDecoder``.

        Raises:
            CaptioningError: the encoder has no such part, or see ``RecurrentDecoder``.
        """
        super().__init__(vocabulary_size, features, cell, **common)
        self.image, self.reads = image, (image,)
        self.recurrent = Recurrent(cell, self.embedding_size, self.hidden_size, self.depth, dropout=self.layer_dropout)
        state = self.recurrent.layer(0).memories * self.hidden_size
        # v has a vector for each layer
        self.layers = image not in features.varying and features[image][:-1] == (self.depth,)
        inputs = features.size(image) * (features.regions(image) if self.layers else 1)
        same = self.layers and features[image] == (self.depth, state)
        self.bridge = None if same else nn.Sequential(nn.Linear(inputs, self.depth * state), nn.Tanh())

    def start(self, features: Features) -> State:
        """The initial state ``(B, 1, depth, C)``."""
        values = features[self.image] if self.layers else features.mean(self.image)
        if self.bridge is None:
            return State({}, {"hidden": values.unsqueeze(1)})
        state = self.bridge(values.flatten(1))
        return State({}, {"hidden": state.unflatten(-1, (1, self.depth, -1))})

    def outputs(self, words: Tensor, loop: Loop) -> Tensor:
        """The hidden states ``(…, H)`` of words ``(…)``."""
        return loop.run("hidden", self.recurrent, self.embed(words))
