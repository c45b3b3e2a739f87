"""Lu, Xiong, Parikh & Socher, "Knowing When to Look: Adaptive Attention via a Visual Sentinel …", CVPR 2017.

arXiv 1612.01887. The features of the regions are equations 15 and 16, the spatial attention 6 to 8, the sentinel 9 and
10, the adaptive context 11, the attention over regions and sentinel 12, the words' probabilities 13::

    v_i = ReLU(Wa a_i)      v_g = ReLU(Wb mean(a))      x_t = [w_t; v_g]      h_t, m_t = LSTM(x_t, h_{t-1}, m_{t-1})
    s_t = σ(Wx x_t + Wh h_{t-1}) · tanh(m_t)
    [α̂_t; β_t] = softmax([wᵀ tanh(Wv V + Wg h_t); wᵀ tanh(Ws s_t + Wg h_t)])
    ĉ_t = Σ_i α̂_ti v_i + β_t s_t      p_t = softmax(Wp (ĉ_t + h_t))

The attention follows the recurrence, and no later word depends on the attention: in training the attention of all words
is computed at once, outside of the loop over words.

Deviations, and what the paper leaves open:

- The cell may be any cell of any depth. The sentinel reads the memory m of the highest layer (``Cell.memory``): an
  LSTM's c, of which s is a second output beside h. A cell without an output gate has m = h.
- The products with ``x_t = [w_t; v_g]`` are sums of two products, so that those of the image are computed once per
  image; in the cell the image's is ``Wih v_g``.
- The paper's attention has A = 49 hidden units, as many as regions; here A is a setting.
"""

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from captioning.cells import Cell, Recurrent
from captioning.core.features import Features, FeatureSpec
from captioning.core.state import State
from captioning.decoders.attention import SentinelAttention
from captioning.decoders.loop import Loop, Now
from captioning.decoders.recurrent import RecurrentDecoder
from captioning.decoders.regions import find_regions, region_size

TINY = 1e-10  # keeps the division by a vanishing weight finite


class Adaptive(RecurrentDecoder):
    """A captioner that attends to an image's regions or, by the sentinel's weight β, to what it knows already."""

    traced = ("attention", "sentinel")

    def __init__(
        self,
        vocabulary_size: int,
        features: FeatureSpec,
        cell: Callable[..., Cell],
        *,
        attends: str = "grid",
        attention_size: int = 49,
        **common: Any,
    ) -> None:
        """Make the layers.

        Args:
            vocabulary_size: V, the number of words.
            features: the shapes of the encoder's features.
            cell: a function that makes one recurrent layer.
            attends: the name of the part of the features whose regions the decoder attends to; their mean is the
                image's vector.
            attention_size: A, the hidden units of the attention.
            common: the settings of ``RecurrentDecoder``.

        Raises:
            CaptioningError: the encoder has no such part, the part has no regions, or see ``RecurrentDecoder``.
        """
        super().__init__(vocabulary_size, features, cell, **common)
        self.attends, self.reads = attends, (attends,)
        D, E, H = region_size(features, attends), self.embedding_size, self.hidden_size
        self.Wa, self.Wb = nn.Linear(D, H), nn.Linear(D, H)
        self.recurrent = Recurrent(cell, E, H, self.depth, image_size=H, dropout=self.layer_dropout)
        self.Wxw, self.Wxv = nn.Linear(E, H), nn.Linear(H, H, bias=False)  # Wx x = Wxw w + Wxv v_g
        self.Wh = nn.Linear(H, H, bias=False)
        self.attention = SentinelAttention(H, H, H, attention_size)

    def start(self, features: Features) -> State:
        """The regions v, their keys and the terms of v_g, computed once per image, and a state of zeros."""
        grid, there = find_regions(features, self.attends)
        v = self.Wa(grid).relu()  # (B, L, H)
        v_g = self.Wb(features.mean(self.attends)).relu()  # (B, H)
        image = {"v": v, "keys": self.attention.keys(v), "Wih v_g": self.recurrent.image(v_g), "Wxv v_g": self.Wxv(v_g)}
        return State({**image, **there}, {"hidden": self.recurrent.initial(len(v_g), 1, like=v_g)})

    def outputs(self, words: Tensor, loop: Loop) -> Tensor:
        """The output layer's inputs ``ĉ + h``, ``(…, H)``, of words ``(…)``."""
        w = self.embed(words)
        before, after = loop.steps(self.time_step, "hidden", self.recurrent.input(w) + loop.image("Wih v_g"))
        h, m = after[..., : self.hidden_size], self.recurrent.layer(-1).memory(after)
        g = self.Wxw(w) + loop.image("Wxv v_g") + self.Wh(before[..., : self.hidden_size])
        s = g.sigmoid() * m.tanh()
        attention, beta = self.attention.weights(loop.image("keys"), h, s, loop.find_image("there"))  # (…, L), (…, 1)
        loop.trace("attention", attention / attention.sum(-1, keepdim=True).clamp_min(TINY))  # α of equation 7
        loop.trace("sentinel", beta.squeeze(-1))
        output: Tensor = loop.weighted_sum(attention, "v") + beta * s + h
        return output

    def time_step(self, now: Now, hidden: Tensor, terms: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Compute the recurrence.

        Args:
            now: the time step.
            hidden: ``(…, depth, C)``, the states before the word.
            terms: ``(…, G·H)``, the lowest layer's ``Wxh w + Wih v_g``.

        Returns:
            The states after the word, and the highest layer's state before and after the word, ``(…, C)`` each.
        """
        _, after = self.recurrent.step_terms(terms, hidden)
        return after, hidden[..., -1, :], after[..., -1, :]
