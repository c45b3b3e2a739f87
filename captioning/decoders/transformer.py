"""A transformer (Vaswani et al., "Attention Is All You Need", NeurIPS 2017, arXiv 1706.03762) as a captioner.

The decoder of section 3.1 over the regions of an image: in each layer self-attention over the words so far, attention
over the regions, and the feed-forward network of equation 2; positions are the sinusoids of section 3.5. There is no
stack of encoder layers: the regions are the encoder's, through one matrix and a norm.

In search the keys and values of the words so far are kept in the state, so that a step computes its own word alone. In
training all words are computed at once: every matrix product has one row for each word of the packed captions, and
only the attention itself, which has no weights, takes the padded ``(B, S, T, …)``.

Deviations, chosen for data sets as small as Flickr8k:

- The norms come before the sublayers, with one more at the end (Xiong et al. 2020, arXiv 2002.04745): the paper's
  order, after the sublayers, needs a long warm-up of the learning rate.
- Positions stay the paper's sinusoids: few captions are long, and a learned vector of their last positions would hardly
  be trained.
- Dropout is on the sublayers' outputs (section 5.4) and on the embedded words, but not on the positions.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from captioning.core.errors import CaptioningError
from captioning.core.features import Features, FeatureSpec
from captioning.core.packing import Packing
from captioning.core.state import State
from captioning.decoders.decoder import Decoder, Outputs, check_fractions
from captioning.decoders.multi_head import MultiHeadAttention
from captioning.decoders.regions import find_regions, region_size

Arrange = Callable[[Tensor], Tensor]
Attended = tuple[Tensor, Tensor, Tensor | None]
KINDS = ("keys", "values")


class Transformer(Decoder):
    """A captioner without recurrence: every word attends to the words before it and to the regions of the image."""

    def __init__(
        self,
        vocabulary_size: int,
        features: FeatureSpec,
        *,
        attends: str = "grid",
        depth: int = 3,
        heads: int = 8,
        feed_forward_size: int = 2048,
        layer_dropout: float = 0.0,
        **common: Any,
    ) -> None:
        """Make the layers.

        Args:
            vocabulary_size: V, the number of words.
            features: the shapes of the encoder's features.
            attends: the name of the part of the features whose regions the decoder attends to.
            depth: the number of layers.
            heads: h, the number of heads of every attention; h divides E.
            feed_forward_size: F, the hidden units of the feed-forward networks.
            layer_dropout: the fraction of each sublayer's outputs that training drops.
            common: the settings of ``Decoder``.

        Raises:
            CaptioningError: the encoder has no such part, the part has no regions, there is no layer, h does not divide
                E, or see ``Decoder``.
        """
        super().__init__(vocabulary_size, features, **common)
        if depth < 1:
            raise CaptioningError(f"decoder.depth={depth}: take 1 layer or more.")
        check_fractions(layer_dropout=layer_dropout)
        self.attends, self.reads = attends, (attends,)
        E = self.embedding_size
        self.regions = nn.Sequential(nn.Linear(region_size(features, attends), E), nn.LayerNorm(E))
        self.layers = nn.ModuleList(Layer(E, heads, feed_forward_size, layer_dropout) for _ in range(depth))
        self.norm = nn.LayerNorm(E)

    def start(self, features: Features) -> State:
        """The keys and values of the regions in every layer, computed once per image, and no word yet."""
        grid, image = find_regions(features, self.attends)
        regions = self.regions(grid)  # (B, L, E)
        sequence: dict[str, Tensor] = {}
        for number, layer in enumerate(self._layers()):
            keys, values = layer.region_keys(regions)  # (B, h, L, d)
            image |= {f"region keys {number}": keys, f"region values {number}": values}
            none = keys.new_zeros(len(keys), 1, keys.shape[1], 0, keys.shape[-1])  # (B, 1, h, 0, d)
            sequence |= {f"keys {number}": none, f"values {number}": none}
        words = torch.zeros(len(grid), 1, 0, dtype=torch.bool, device=grid.device)
        return State(image, {"words": words, **sequence})

    def advance(self, tokens: Tensor, state: State) -> tuple[Tensor, State]:
        """Feed one word of every sequence, see ``Decoder.advance``."""
        there = torch.ones_like(tokens, dtype=torch.bool).unsqueeze(-1)  # (B, S, 1)
        hidden, after, looked = self.read(tokens, there, state, lambda x: x.unsqueeze(2), lambda x: x.squeeze(2))
        attention = self._layers()[-1].attention.weights(*looked).mean(-3)  # (B, S, L), over the heads
        return hidden, State(after.image, {**after.sequence, "attention": attention})

    def teacher_force(self, features: Features, words: Tensor, packing: Packing) -> Outputs:
        """See ``Decoder.teacher_force``; all words are computed at once."""
        return self.teacher_force_from(self.start(features), words, packing)[0]

    def teacher_force_from(
        self, state: State, words: Tensor, packing: Packing, own_words: float = 0.0
    ) -> tuple[Outputs, State]:
        """See ``Decoder.teacher_force_from``; without ``own_words`` the sequences may differ in length."""
        if own_words:  # drawn from what has just been predicted: one step after the other
            return super().teacher_force_from(state, words, packing, own_words)
        there = packing.unpack(torch.ones_like(words, dtype=torch.bool))  # (B, S, T)
        hidden, after, _ = self.read(words, there, state, packing.unpack, packing.pack)
        return Outputs(hidden), after

    def read(
        self, words: Tensor, there: Tensor, state: State, spread: Arrange, rows: Arrange
    ) -> tuple[Tensor, State, Attended]:
        """Compute the layers for new words of every sequence.

        Args:
            words: the new words, as rows ``(…)``.
            there: ``(B, S, T)``, True for the places of the new words.
            state: the state before these words.
            spread: the function from rows ``(…, E)`` to ``(B, S, T, E)``.
            rows: the inverse of ``spread``.

        Returns:
            The output layer's inputs as rows ``(…, E)``, the next state, and the arguments of the last layer's
            attention to the regions.
        """
        B, S, T = there.shape
        before = state.sequence["words"].expand(B, S, -1)  # (B, S, t)
        known, t = torch.cat([before, there], dim=-1), before.shape[-1]  # (B, S, t + T)
        mask = torch.ones(T, t + T, dtype=torch.bool, device=there.device).tril(t)
        if t:  # without words before, the places after a sequence's end lie ahead of all of its words
            mask = mask & known.unsqueeze(2)  # (B, S, T, t + T)
        places = rows(known.cumsum(-1)[..., t:] - 1)
        x = self.embed(words) * self.embedding_size**0.5
        x = x + F.embedding(places, sinusoids(t + T, self.embedding_size, there.device))
        seen = state.image["there"].unsqueeze(1) if "there" in state.image else None  # (B, 1, L)
        sequence, attended = {"words": known}, (x, x, seen)
        for number, layer in enumerate(self._layers()):
            past = [state.sequence[f"{kind} {number}"].expand(-1, S, -1, -1, -1) for kind in KINDS]
            regions = [state.image[f"region {kind} {number}"] for kind in KINDS]
            x, new, query = layer(x, past, regions, mask, seen, spread, rows)
            sequence |= {f"{kind} {number}": part for kind, part in zip(KINDS, new, strict=True)}
            attended = (query, regions[0], seen)
        return self.norm(x), State(state.image, sequence), attended

    def _layers(self) -> list["Layer"]:
        return [layer for layer in self.layers if isinstance(layer, Layer)]


class Layer(nn.Module):
    """One layer of the transformer, whose three sublayers are each ``x + dropout(sublayer(norm(x)))``."""

    def __init__(self, size: int, heads: int, feed_forward_size: int, dropout: float) -> None:
        """Make the weights.

        Args:
            size: E, the numbers of a word.
            heads: h.
            feed_forward_size: F, the hidden units of the feed-forward network.
            dropout: the fraction of each sublayer's outputs that training drops.
        """
        super().__init__()
        self.attention = MultiHeadAttention(size, heads)
        self.dropout = nn.Dropout(dropout)
        self.word_norm, self.region_norm, self.norm = (nn.LayerNorm(size) for _ in range(3))
        self.Wqkv, self.Wo = nn.Linear(size, 3 * size), nn.Linear(size, size)  # of the words
        self.Wq, self.Wkv, self.Wr = nn.Linear(size, size), nn.Linear(size, 2 * size), nn.Linear(size, size)
        self.W1, self.W2 = nn.Linear(size, feed_forward_size), nn.Linear(feed_forward_size, size)
        for part in self.modules():
            if isinstance(part, nn.Linear):
                nn.init.xavier_uniform_(part.weight)
                nn.init.zeros_(part.bias)

    def region_keys(self, regions: Tensor) -> tuple[Tensor, Tensor]:
        """The keys and values of the regions: ``(B, L, E)`` to ``(B, h, L, d)`` each."""
        keys, values = (self.attention.split(part).contiguous() for part in self.Wkv(regions).chunk(2, dim=-1))
        return keys, values

    def forward(
        self,
        x: Tensor,
        past: Sequence[Tensor],
        regions: Sequence[Tensor],
        mask: Tensor,
        there: Tensor | None,
        spread: Arrange,
        rows: Arrange,
    ) -> tuple[Tensor, list[Tensor], Tensor]:
        """Compute the three sublayers.

        Args:
            x: the new words as rows ``(…, E)``.
            past: the keys and values of the words before, ``(B, S, h, t, d)`` each.
            regions: the keys and values of the regions, ``(B, h, L, d)`` each.
            mask: ``(T, t + T)`` or ``(B, S, T, t + T)``, True for the words that a new word may attend to.
            there: ``(B, 1, L)``, True for the regions that an image has; None if every image has all L.
            spread: the function from rows to ``(B, S, T, …)``.
            rows: the inverse of ``spread``.

        Returns:
            The new words as rows ``(…, E)``, the keys and values of all words so far, and the queries of the regions,
            ``(B, S · T, E)``.
        """
        query, *new = spread(self.Wqkv(self.word_norm(x))).chunk(3, dim=-1)  # (B, S, T, E) each
        keys, values = (
            torch.cat([before, self.attention.split(after)], dim=-2) for before, after in zip(past, new, strict=True)
        )
        x = x + self.dropout(self.Wo(rows(self.attention(query, keys, values, mask))))
        query = spread(self.Wq(self.region_norm(x)))
        seen = self.attention(query.flatten(1, 2), *regions, there).view(query.shape)
        x = x + self.dropout(self.Wr(rows(seen)))
        x = x + self.dropout(self.W2(self.W1(self.norm(x)).relu()))
        return x, [keys, values], query.flatten(1, 2)


def sinusoids(places: int, size: int, device: torch.device) -> Tensor:
    """The positions of section 3.5, ``(places, E)``: sine and cosine of wavelengths from 2π to 10,000 · 2π."""
    wavelengths = 10000 ** (torch.arange(0, size, 2, device=device) / size)
    angles = torch.arange(places, device=device).unsqueeze(1) / wavelengths
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)[:, :size]
