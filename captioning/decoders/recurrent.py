"""A decoder of recurrent cells, whose equations are written once.

Dimensions: B images, S sequences of an image, M words of a packed batch, H hidden, O inputs of the word layer.
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
    """A decoder of recurrent cells: a subclass writes ``start``, and its paper's equations in ``outputs``.

    From ``outputs`` follow ``advance``, one word at a time, and ``teacher_force``, in which the loop over words holds
    nothing but the recurrence.

    Attributes:
        cell: makes one recurrent layer from ``input_size``, ``hidden_size`` and ``image_size``.
        hidden_size: H.
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
        """Make the embedding and the word layer, and take the settings of the recurrent layers.

        Args:
            vocabulary_size: V.
            features: the shapes of the encoder's features.
            cell: makes one recurrent layer from ``input_size``, ``hidden_size`` and ``image_size``.
            hidden_size: H.
            depth: the number of recurrent layers.
            layer_dropout: the fraction of the hidden units between recurrent layers that training drops.
            output_size: O; H where not given.
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
        """The equations: from the words that go in to the word layer's inputs.

        Args:
            words: ``(B, S)`` in search, ``(M,)`` in training.
            loop: the image's parts and the recurrent layers' states, for words of either shape.

        Returns:
            ``(B, S, O)`` or ``(M, O)``.
        """

    def advance(self, tokens: Tensor, state: State) -> tuple[Tensor, State]:
        """One word: ``(B, S)`` to ``(B, S, O)``, and the next state."""
        loop = OneStep(state)
        return self.outputs(tokens, loop), loop.state()

    def packed_loop(self, state: State, packing: Packing) -> PackedWords:
        """The loop over whole captions, from a state."""
        return PackedWords(state, packing)

    def teacher_force(self, features: Features, words: Tensor, packing: Packing) -> Outputs:
        """See ``Decoder.teacher_force``; what depends on an image alone is computed once for its captions."""
        return self.teacher_force_from(self.start(features), words, packing)[0]

    def teacher_force_from(self, state: State, words: Tensor, packing: Packing) -> tuple[Outputs, State]:
        """See ``Decoder.teacher_force_from``; the sequences may differ in length."""
        loop = self.packed_loop(state, packing)
        return Outputs(self.outputs(words, loop), loop.traces), loop.state()
