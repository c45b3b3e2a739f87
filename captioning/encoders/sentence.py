"""The encoder of sentences: an embedding, and recurrent layers that read in one direction or in both.

Cho et al., "Learning Phrase Representations using RNN Encoder-Decoder" (EMNLP 2014, arXiv 1406.1078), section 2.2, and
Sutskever, Vinyals & Le, "Sequence to Sequence Learning with Neural Networks" (NIPS 2014, arXiv 1409.3215), hand their
decoders the last state. Bahdanau, Cho & Bengio, "Neural Machine Translation by Jointly Learning to Align and Translate"
(ICLR 2015, arXiv 1409.0473), section 3.2: a word's annotation is the states of both directions at the word.

Dimensions: B sentences, L words, E embedding, H hidden, M words in all, K directions (1 or 2), C numbers of a cell's
state.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from captioning.cells import Cell
from captioning.core.errors import CaptioningError
from captioning.core.features import Features, FeatureSpec
from captioning.core.packing import Packing
from captioning.core.sentences import Sentences
from captioning.core.vocabulary import PAD


class SentenceEncoder(nn.Module):
    """From sentences to features; each layer above the first reads the states of both directions of the one below.

    Attributes:
        spec: ``grid``, the annotations ``(L, K·H)`` of a sentence's words; ``pooled``, the hidden state ``(K·H,)`` of
            the highest layer after the last word and, of the direction that reads backwards, after the first one; and
            ``state``, the whole states ``(depth, K·C)`` there, see ``captioning.decoders.SequenceToSequence``.
    """

    def __init__(
        self,
        vocabulary_size: int,
        cell: Callable[..., Cell],
        *,
        embedding_size: int = 256,
        hidden_size: int = 256,
        depth: int = 1,
        bidirectional: bool = True,
        embedding_dropout: float = 0.0,
        layer_dropout: float = 0.0,
        max_words: int = 50,
    ) -> None:
        """Make the layers.

        Args:
            vocabulary_size: the number of the source's words.
            cell: a function from ``input_size`` and ``hidden_size`` to one recurrent layer.
            embedding_size: E, the numbers of an embedded word.
            hidden_size: H, the hidden units of a layer in one direction.
            depth: the number of layers in one direction.
            bidirectional: whether a second network reads each sentence from its end.
            embedding_dropout: the fraction of the embedded words' numbers that training drops.
            layer_dropout: the fraction of the hidden units between layers that training drops.
            max_words: the words of a sentence that training reads, for ``spec``; longer sentences may be encoded.

        Raises:
            CaptioningError: there is no layer, or a fraction is not from 0 to 1.
        """
        super().__init__()
        if depth < 1:
            raise CaptioningError(f"encoder.depth={depth}: take 1 recurrent layer or more.")
        for name, value in (("embedding_dropout", embedding_dropout), ("layer_dropout", layer_dropout)):
            if not 0 <= value <= 1:
                raise CaptioningError(f"encoder.{name}={value}: take a fraction from 0 to 1.")
        self.embedding = nn.Embedding(vocabulary_size, embedding_size, padding_idx=PAD)
        nn.init.uniform_(self.embedding.weight, -0.1, 0.1)
        self.embedding_dropout, self.layer_dropout = nn.Dropout(embedding_dropout), nn.Dropout(layer_dropout)
        directions = 2 if bidirectional else 1
        self.layers = nn.ModuleList(
            nn.ModuleList(
                cell(input_size=directions * hidden_size if layer else embedding_size, hidden_size=hidden_size)
                for _ in range(directions)
            )
            for layer in range(depth)
        )
        width = directions * hidden_size
        self.spec = FeatureSpec(
            ["grid"],
            grid=(max_words + 1, width),  # <end> is read, too
            pooled=(width,),
            state=(depth, width * _first(self.layers).memories),
        )

    def forward(self, sentences: Sentences) -> Features:
        """The features of B sentences: ``grid (B, L, K·H)`` with lengths, ``pooled`` and ``state``, see ``spec``."""
        tokens = sentences.words.unsqueeze(1)  # (B, 1, L)
        packing = Packing.of(tokens)
        x = self.embedding_dropout(self.embedding(packing.pack(tokens)))  # (M, E)
        states = []
        for number, layer in enumerate(self.layers):
            x, state = self._run(layer, x if number == 0 else self.layer_dropout(x), packing)
            states.append(state)
        state = torch.stack(states, dim=1)  # (B, depth, K·C), in the order of the packing
        state = torch.zeros_like(state).index_copy(0, packing.captions, state)
        cell = _first(self.layers)
        last = state[:, -1].reshape(len(state), -1, cell.memories * cell.hidden_size)  # (B, K, C)
        return Features(
            {"grid": sentences.lengths},
            grid=packing.unpack(x).squeeze(1),
            pooled=last[..., : cell.hidden_size].flatten(1),
            state=state,
        )

    def _run(self, cells: nn.Module, x: Tensor, packing: Packing) -> tuple[Tensor, Tensor]:
        """The hidden states ``(M, K·H)`` of one layer in its directions, and the states ``(B, K·C)`` at their ends."""
        hidden, ends = [], []
        for direction, cell in enumerate(cells.children()):
            assert isinstance(cell, Cell)
            inputs = x.index_select(0, packing.backwards) if direction else x
            outputs, end = cell.run(inputs, packing.sizes, cell.initial(len(packing.captions), like=x))
            hidden.append(outputs.index_select(0, packing.backwards) if direction else outputs)
            ends.append(end)
        return torch.cat(hidden, dim=-1), torch.cat(ends, dim=-1)


def _first(layers: nn.ModuleList) -> Cell:
    cell = next(layers[0].children())
    assert isinstance(cell, Cell)
    return cell
