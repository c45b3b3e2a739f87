"""The base class of decoders of recurrent cells, whose equations a subclass writes once.

Dimensions: B images, S sequences of an image, M words of a packed batch, H hidden, O inputs of the output layer.
"""

from abc import abstractmethod
from collections.abc import Callable
from typing import Any

from torch import Tensor

from captioning.cells import Cell
from captioning.core.errors import CaptioningError
from captioning.core.features import Features, FeatureSpec
from captioning.core.packing import Packing
from captioning.core.state import State
from captioning.decoders.decoder import Decoder, Outputs, check_fractions
from captioning.decoders.loop import Loop, OneStep, PackedWords


class RecurrentDecoder(Decoder):
    """A decoder of recurrent cells; a subclass defines ``start``, and its paper's equations in ``outputs``.

    ``advance`` (one word at a time) and ``teacher_force`` follow from ``outputs``; the loop over words in
    ``teacher_force`` contains the recurrence alone.

    Attributes:
        cell: a function from ``input_size``, ``hidden_size`` and ``image_size`` to one recurrent layer.
        hidden_size: H, the number of hidden units.
        depth: the number of recurrent layers.
        layer_dropout: the fraction of the hidden units between recurrent layers that training drops.
    """

    def __init__(
        self,
        vocabulary_size: int,
        features: FeatureSpec,
        cell: Callable[..., Cell],
        *,
        hidden_size: int = 512,
        depth: int = 1,
        layer_dropout: float = 0.0,
        output_size: int | None = None,
        **common: Any,
    ) -> None:
        """Make the embedding and the output layer, and take the settings of the recurrent layers.

        Args:
            vocabulary_size: V, the number of words.
            features: the shapes of the encoder's features.
            cell: a function from ``input_size``, ``hidden_size`` and ``image_size`` to one recurrent layer.
            hidden_size: H, the number of hidden units.
            depth: the number of recurrent layers.
            layer_dropout: the fraction of the hidden units between recurrent layers that training drops.
            output_size: O, the inputs of the output layer; None for H.
            common: the settings of ``Decoder``.

        Raises:
            CaptioningError: there is no layer, a fraction is not from 0 to 1, or see ``Decoder``.
        """
        if depth < 1:
            raise CaptioningError(f"decoder.depth={depth}: take 1 recurrent layer or more.")
        check_fractions(layer_dropout=layer_dropout)
        super().__init__(vocabulary_size, features, output_size=output_size or hidden_size, **common)
        self.cell, self.hidden_size, self.depth, self.layer_dropout = cell, hidden_size, depth, layer_dropout

    @abstractmethod
    def outputs(self, words: Tensor, loop: Loop) -> Tensor:
        """The output layer's inputs, computed from the input words by the decoder's equations.

        Args:
            words: the input words, ``(B, S)`` in search, ``(M,)`` in training.
            loop: the image's parts and the recurrent layers' states, for words of either shape.

        Returns:
            ``(B, S, O)`` or ``(M, O)``.
        """

    def advance(self, tokens: Tensor, state: State) -> tuple[Tensor, State]:
        """Feed one word of every sequence, see ``Decoder.advance``."""
        loop = OneStep(state)
        return self.outputs(tokens, loop), loop.state()

    def packed_loop(self, state: State, packing: Packing) -> PackedWords:
        """The loop over whole captions that starts from a state."""
        return PackedWords(state, packing)

    def teacher_force(self, features: Features, words: Tensor, packing: Packing) -> Outputs:
        """See ``Decoder.teacher_force``; terms that depend on an image alone are computed once for its captions."""
        return self.teacher_force_from(self.start(features), words, packing)[0]

    def teacher_force_from(
        self, state: State, words: Tensor, packing: Packing, own_words: float = 0.0
    ) -> tuple[Outputs, State]:
        """See ``Decoder.teacher_force_from``; the sequences may differ in length."""
        if own_words:  # drawn from what has just been predicted: one step after the other
            return super().teacher_force_from(state, words, packing, own_words)
        loop = self.packed_loop(state, packing)
        return Outputs(self.outputs(words, loop), loop.traces), loop.state()
