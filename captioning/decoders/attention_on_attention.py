"""Huang, Wang, Chen & Wei, "Attention on Attention for Image Captioning" (AoANet), ICCV 2019.

arXiv 1908.06954. Section 3.1 is attention on attention (AoA), section 3.2 the refined regions (encoder with AoA) and
the decoder with AoA, with multi-head attention in both::

    AoA(q, v̂) = σ(Wqg q + Wvg v̂ + bg) · (Wqi q + Wvi v̂ + bi)      v̂: what q attends to
    A ← LayerNorm(A + AoA(Q A, attention(Q A, K A, V A)))         once for each refining layer
    x_t = [We Π_t; ā + c_{t-1}]      h_t, m_t = LSTM(x_t, h_{t-1}, m_{t-1})
    c_t = AoA(Qd h_t, attention(Qd h_t, Kd A, Vd A))              p_t = softmax(Wp c_t)

Deviations:

- The regions are any part of an encoder's features, by default its grid; the paper's are the boxes of a detector.
- The cell may be any cell of any depth; the query comes from the highest layer's hidden state.
- The product with the concatenation is a sum of products, so that the word's and that of ā are computed outside of the
  loop over words. In the cell ``ā + c`` enters through ``Wih``.
"""

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from captioning.cells import Cell, Recurrent
from captioning.core.errors import CaptioningError
from captioning.core.features import Features, FeatureSpec
from captioning.core.state import State
from captioning.decoders.loop import Loop, Now
from captioning.decoders.multi_head import MultiHeadAttention
from captioning.decoders.recurrent import RecurrentDecoder
from captioning.decoders.regions import find_regions, region_size


class AttentionOnAttention(RecurrentDecoder):
    """A captioner that attends to refined regions, and weighs what the attention returns by a gate."""

    traced = ("attention",)

    def __init__(
        self,
        vocabulary_size: int,
        features: FeatureSpec,
        cell: Callable[..., Cell],
        *,
        attends: str = "grid",
        heads: int = 8,
        refining_layers: int = 6,
        **common: Any,
    ) -> None:
        """Make the layers.

        Args:
            vocabulary_size: V, the number of words.
            features: the shapes of the encoder's features.
            cell: a function that makes one recurrent layer.
            attends: the name of the part of the features whose regions the decoder attends to.
            heads: the number of heads of every attention, which divides H.
            refining_layers: the number of layers that refine the regions; 0 for the regions as they are.
            common: the settings of ``RecurrentDecoder``.

        Raises:
            CaptioningError: the encoder has no such part, the part has no regions, the heads do not divide H, the
                number of refining layers is negative, or see ``RecurrentDecoder``.
        """
        super().__init__(vocabulary_size, features, cell, **common)
        if refining_layers < 0:
            raise CaptioningError(f"decoder.refining_layers={refining_layers}: take 1 or more, or 0 for none.")
        self.attends, self.reads = attends, (attends,)
        E, H = self.embedding_size, self.hidden_size
        self.regions = nn.Linear(region_size(features, attends), H)
        self.refining = nn.ModuleList(Refining(H, heads) for _ in range(refining_layers))
        self.recurrent = Recurrent(cell, E, H, self.depth, image_size=H, dropout=self.layer_dropout)
        self.attention = MultiHeadAttention(H, heads)
        self.query, self.key, self.value = (nn.Linear(H, H) for _ in range(3))
        self.aoa = AoA(H)

    def start(self, features: Features) -> State:
        """The refined regions' keys and values and the term of ā, computed once per image, and states of zeros."""
        grid, image = find_regions(features, self.attends)
        there = image["there"].unsqueeze(1) if image else None  # (B, 1, L)
        regions = self.regions(grid)  # (B, L, H)
        for layer in self.refining:
            regions = layer(regions, there)
        lengths = {part: each for part, each in features.lengths.items() if part == self.attends}
        mean = self.recurrent.image(Features(lengths, **{self.attends: regions}).mean(self.attends))
        keys, values = (self.attention.split(part).contiguous() for part in (self.key(regions), self.value(regions)))
        image |= {"keys": keys, "values": values, "Wih a": mean}  # (B, heads, L, d) twice, (B, G·H)
        context = mean.new_zeros(len(mean), 1, self.hidden_size)
        return State(image, {"hidden": self.recurrent.initial(len(mean), 1, like=mean), "context": context})

    def outputs(self, words: Tensor, loop: Loop) -> Tensor:
        """The contexts c ``(…, H)`` of words ``(…)``."""
        terms = self.recurrent.input(self.embed(words)) + loop.image("Wih a")
        (context,) = loop.steps(self.time_step, ("hidden", "context"), terms)
        return context

    def time_step(self, now: Now, hidden: Tensor, context: Tensor, terms: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Compute the recurrence, the attention and the attention on it: the last two lines of the equations.

        Args:
            now: the time step, with the images' parts.
            hidden: ``(…, depth, C)``, the states before the word.
            context: ``(…, H)``, c before the word.
            terms: ``(…, G·H)``, the lowest layer's ``Wxh We Π + Wih ā``.

        Returns:
            The states after the word, and the context twice, as a part of the state and as the output.
        """
        h, hidden = self.recurrent.step_terms(terms + self.recurrent.image(context), hidden)
        query, there = self.query(h), now.parts.get("there")
        weights = self.attention.weights(  # (B, heads, S, L)
            now.by_image(query), now.parts["keys"], None if there is None else there.unsqueeze(1)
        )
        now.trace("attention", now.rows(weights.mean(1)))
        attended = now.rows(self.attention.join(weights @ now.parts["values"]))
        context = self.aoa(query, attended)
        return hidden, context, context


class AoA(nn.Module):
    """Attention on attention: information from query and attended values, by a gate of the same two."""

    def __init__(self, size: int) -> None:
        """Make the weights; ``size`` is H, the numbers of query and attended values."""
        super().__init__()
        self.Wq, self.Wv = nn.Linear(size, 2 * size), nn.Linear(size, 2 * size, bias=False)

    def forward(self, query: Tensor, attended: Tensor) -> Tensor:
        """The attended information ``(…, H)`` of two ``(…, H)``."""
        information, gate = (self.Wq(query) + self.Wv(attended)).chunk(2, dim=-1)
        result: Tensor = gate.sigmoid() * information
        return result


class Refining(nn.Module):
    """One refining layer: each region attends to all regions of its image."""

    def __init__(self, size: int, heads: int) -> None:
        """Make the weights; ``size`` is H, the numbers of a region."""
        super().__init__()
        self.Wqkv = nn.Linear(size, 3 * size)
        self.attention, self.aoa, self.norm = MultiHeadAttention(size, heads), AoA(size), nn.LayerNorm(size)

    def forward(self, regions: Tensor, there: Tensor | None = None) -> Tensor:
        """The refined regions ``(B, L, H)`` of regions ``(B, L, H)``; ``there (B, 1, L)`` says which an image has."""
        query, keys, values = self.Wqkv(regions).chunk(3, dim=-1)
        attended = self.attention(query, self.attention.split(keys), self.attention.split(values), there)
        refined: Tensor = self.norm(regions + self.aoa(query, attended))
        return refined
