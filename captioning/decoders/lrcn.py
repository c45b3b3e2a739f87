"""Donahue et al., "Long-term Recurrent Convolutional Networks for Visual Recognition and Description", CVPR 2015.

arXiv 1411.4389, on image description. The image enters at every step beside the word, as ``Wih v`` in the gates: a
product with the concatenation ``[x; v]`` equals the sum of two products. LRCN-1u is ``depth=1``; LRCN-2u is
``depth=2 factored=false``, where word and image enter the first layer; LRCN-2f is ``depth=2 factored=true``, where the
first layer reads the words alone and the image enters the second.

Deviations: any cell is possible (the paper's is the LSTM), and more than two layers.
"""

from collections.abc import Callable
from typing import Any

from captioning.cells import Cell
from captioning.core.features import FeatureSpec
from captioning.decoders.neuraltalk import NeuralTalk


class LRCN(NeuralTalk):
    """The recurrence of ``NeuralTalk`` with the image at every step, in the lowest or in the highest layer."""

    def __init__(
        self,
        vocabulary_size: int,
        features: FeatureSpec,
        cell: Callable[..., Cell],
        *,
        factored: bool = True,
        **common: Any,
    ) -> None:
        """Make the layers.

        Args:
            vocabulary_size: V, the number of words.
            features: the shapes of the encoder's features.
            cell: a function that makes one recurrent layer.
            factored: whether the image enters the highest layer instead of the lowest.
            common: the setting ``image`` of ``NeuralTalk``, and the settings of ``RecurrentDecoder``.

        Raises:
            CaptioningError: see ``NeuralTalk``.
        """
        super().__init__(vocabulary_size, features, cell, inject="every", image_layer=-1 if factored else 0, **common)
