"""Venugopalan et al., "Sequence to Sequence -- Video to Text" (S2VT), ICCV 2015.

arXiv 1505.00487, section 3.2: two stacked LSTMs read the frames, and go on to write the words. While they read, the
second layer is given padding in the place of a word; while they write, the first layer is given padding in the place of
a frame::

    reading:  h1_t = LSTM(We_v f_t, h1_{t-1})    h2_t = LSTM([h1_t; 0],       h2_{t-1})
    writing:  h1_t = LSTM(0,        h1_{t-1})    h2_t = LSTM([h1_t; We y_{t-1}], h2_{t-1})    p(y_t) = softmax(Wy h2_t)

Deviations: the layers may be of any cell; each clip is read to its own end instead of in a fixed number of 80 steps;
dropout of the embedded frames is a setting. The paper's frames are numbers of fc6 or fc7 of a VGG, embedded in 500.
"""

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor, nn

from captioning.cells import Cell, Recurrent
from captioning.cells.sequences import packing_of, read_packed
from captioning.core.features import Features, FeatureSpec
from captioning.core.state import State
from captioning.decoders.decoder import check_fractions
from captioning.decoders.loop import Loop
from captioning.decoders.norms import make_norm
from captioning.decoders.recurrent import RecurrentDecoder
from captioning.decoders.regions import find_regions, region_size


class S2VT(RecurrentDecoder):
    """A captioner whose two recurrent layers read a clip's frames, and then write its caption."""

    def __init__(
        self,
        vocabulary_size: int,
        features: FeatureSpec,
        cell: Callable[..., Cell],
        *,
        reads_from: str = "frames",
        frame_dropout: float = 0.0,
        frame_norm: Literal["batch", "layer"] | None = None,
        **common: Any,
    ) -> None:
        """Make the layers.

        Args:
            vocabulary_size: V, the number of words.
            features: the shapes of the encoder's features.
            cell: a function that makes one recurrent layer.
            reads_from: the name of the part of the features that is read, a vector for each frame.
            frame_dropout: the fraction of the embedded frames' numbers that training drops.
            frame_norm: the normalisation of the embedded frames: ``batch`` over the frames of a batch, ``layer`` over
                the numbers of each frame, see ``make_norm``; None for none, as in the paper.
            common: the settings of ``RecurrentDecoder``; ``depth`` is of the second layer.

        Raises:
            CaptioningError: the encoder has no such part, the part is a single vector, or see ``RecurrentDecoder``.
        """
        check_fractions(frame_dropout=frame_dropout)
        super().__init__(vocabulary_size, features, cell, **common)
        self.reads_from, self.reads = reads_from, (reads_from,)
        E, H = self.embedding_size, self.hidden_size
        self.frame_embedding = nn.Linear(region_size(features, reads_from), E)
        self.frame_norm = make_norm("frame_norm", frame_norm, E)
        self.frame_dropout = nn.Dropout(frame_dropout)
        self.first = Recurrent(cell, E, H)
        self.recurrent = Recurrent(cell, H + E, H, self.depth, dropout=self.layer_dropout)

    def start(self, features: Features) -> State:
        """The states after the last frame: one reading of a clip, for all its captions."""
        frames, _ = find_regions(features, self.reads_from)
        packing = packing_of(frames, features.lengths.get(self.reads_from))
        embedded = self.frame_embedding(packing.pack(frames.unsqueeze(1)))  # (M, E), M frames of all clips
        x = self.frame_dropout(self.frame_norm(embedded))
        h1, first = read_packed(self.first, x, packing)
        _, second = read_packed(self.recurrent, torch.cat([h1, torch.zeros_like(x)], dim=-1), packing)
        return State({}, {"first": first.unsqueeze(1), "hidden": second.unsqueeze(1)})  # (B, 1, depth, C)

    def outputs(self, words: Tensor, loop: Loop) -> Tensor:
        """The hidden states h2 ``(…, H)`` of words ``(…)``."""
        y = self.embed(words)
        h1 = loop.run("first", self.first, torch.zeros_like(y))
        return loop.run("hidden", self.recurrent, torch.cat([h1, y], dim=-1))
