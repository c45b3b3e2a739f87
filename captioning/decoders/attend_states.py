"""Soft attention to the states of recurrent layers that read a clip's frames in both directions.

The encoder is that of Bahdanau, Cho & Bengio, "Neural Machine Translation by Jointly Learning to Align and Translate"
(ICLR 2015, arXiv 1409.0473, section 3.2), over frames in the place of words; the decoder is that of Show, Attend and
Tell, which attends to states as it attends to regions. Yao et al. 2015 attend to the frames themselves: their weights
do not depend on the frames' order, and a set of frames does not say whether a ball moves to the left or to the right.
A state knows what came before it and what comes after it.
"""

from collections.abc import Callable
from typing import Any, Literal

from torch import nn

from captioning.cells import Cell
from captioning.cells.sequences import Reader, packing_of
from captioning.core.features import Features, FeatureSpec
from captioning.core.state import State
from captioning.decoders.decoder import check_fractions
from captioning.decoders.norms import make_norm
from captioning.decoders.regions import find_regions, region_size
from captioning.decoders.show_attend_tell import ShowAttendTell


class AttendStates(ShowAttendTell):
    """A captioner that attends to the states of a reader of the frames."""

    def __init__(
        self,
        vocabulary_size: int,
        features: FeatureSpec,
        cell: Callable[..., Cell],
        *,
        attends: str = "frames",
        reader_size: int = 256,
        bidirectional: bool = True,
        frame_dropout: float = 0.0,
        frame_norm: Literal["batch", "layer"] | None = None,
        **common: Any,
    ) -> None:
        """Make the layers.

        Args:
            vocabulary_size: V, the number of words.
            features: the shapes of the encoder's features.
            cell: a function that makes one recurrent layer, of the reader as of the decoder.
            attends: the name of the part of the features that the reader reads.
            reader_size: the hidden units of the reader in each direction, and the width of the embedded frames.
            bidirectional: whether the reader also reads the frames from the last to the first.
            frame_dropout: the fraction of the embedded frames' numbers that training drops.
            frame_norm: the normalisation of the embedded frames: ``batch`` over the frames of a batch, ``layer`` over
                the numbers of each frame, see ``make_norm``; None for none.
            common: the settings of ``ShowAttendTell``.

        Raises:
            CaptioningError: the encoder has no such part, the part has no regions, or see ``RecurrentDecoder``.
        """
        check_fractions(frame_dropout=frame_dropout)
        size = region_size(features, attends)
        width = reader_size * (2 if bidirectional else 1)
        varying = [attends] if attends in features.varying else []
        states = FeatureSpec(varying, **{attends: (features.regions(attends), width)})
        super().__init__(vocabulary_size, states, cell, attends=attends, **common)
        self.features = features
        self.frame_embedding = nn.Sequential(nn.Linear(size, reader_size), nn.Dropout(frame_dropout))
        self.frame_norm = make_norm("frame_norm", frame_norm, reader_size)
        self.reader = Reader(cell, reader_size, reader_size, bidirectional=bidirectional)

    def start(self, features: Features) -> State:
        """The states of the frames, computed once per clip, and the start of ``ShowAttendTell`` from them."""
        frames, _ = find_regions(features, self.attends)
        lengths = features.lengths.get(self.attends)
        packing, (embed, drop) = packing_of(frames, lengths), self.frame_embedding
        embedded = drop(self.frame_norm(embed(packing.pack(frames.unsqueeze(1)))))  # (M, E), M frames of all clips
        states = self.reader(packing.unpack(embedded).squeeze(1), lengths)
        return super().start(Features(features.lengths, **{self.attends: states}))
