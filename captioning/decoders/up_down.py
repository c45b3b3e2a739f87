"""Anderson et al., "Bottom-Up and Top-Down Attention for Image Captioning and Visual Question Answering", CVPR 2018.

arXiv 1707.07998, section 3.2, the captioning model. The attention LSTM is equations 1 and 2, the attention 3 to 5, the
language LSTM 6, the words' probabilities 7::

    x1_t = [h2_{t-1}; v̄; We Π_t]      h1_t = LSTM(x1_t, h1_{t-1})      α_t = softmax(wᵀ tanh(Wva v_i + Wha h1_t))
    v̂_t = Σ_i α_ti v_i                x2_t = [v̂_t; h1_t]               h2_t = LSTM(x2_t, h2_{t-1})

Deviations:

- The regions are any part of an encoder's features, by default its grid; the paper's are the boxes of a detector
  (bottom-up attention), which an encoder of one's own may give.
- Both layers may use any cell, and the language layer may be a stack of any depth, whose highest layer is h2.
- The products with a concatenation are sums of products, so that the word's is computed outside of the loop over words
  and the image's once per image. In the attention layer v̄ enters through ``Wih``, and in the language layer v̂ does.
"""

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from captioning.cells import Cell, Recurrent
from captioning.core.features import Features, FeatureSpec
from captioning.core.state import State
from captioning.decoders.attention import AdditiveAttention
from captioning.decoders.loop import Loop, Now
from captioning.decoders.recurrent import RecurrentDecoder
from captioning.decoders.regions import find_regions, region_size


class UpDown(RecurrentDecoder):
    """A captioner of two recurrent layers: one to find the regions to attend to, and one to find the next word."""

    traced = ("attention",)

    def __init__(
        self,
        vocabulary_size: int,
        features: FeatureSpec,
        cell: Callable[..., Cell],
        *,
        attends: str = "grid",
        attention_size: int = 512,
        **common: Any,
    ) -> None:
        """Make the layers.

        Args:
            vocabulary_size: V, the number of words.
            features: the shapes of the encoder's features.
            cell: a function that makes one recurrent layer.
            attends: the name of the part of the features whose regions the decoder attends to.
            attention_size: A, the hidden units of the attention.
            common: the settings of ``RecurrentDecoder``; ``depth`` is of the language layer.

        Raises:
            CaptioningError: the encoder has no such part, the part has no regions, or see ``RecurrentDecoder``.
        """
        super().__init__(vocabulary_size, features, cell, **common)
        self.attends, self.reads = attends, (attends,)
        D, E, H = region_size(features, attends), self.embedding_size, self.hidden_size
        self.attending = Recurrent(cell, E, H, image_size=D)
        self.Wh2 = nn.Linear(H, self.attending.layer(0).gates * H, bias=False)
        self.attention = AdditiveAttention(D, H, attention_size)
        self.recurrent = Recurrent(cell, H, H, self.depth, image_size=D, dropout=self.layer_dropout)

    def start(self, features: Features) -> State:
        """The keys of the attention and the term of v̄, computed once per image, and states of zeros."""
        grid, there = find_regions(features, self.attends)
        keys = self.attention.keys(grid)  # (B, L, A)
        mean = self.attending.image(features.mean(self.attends))  # (B, G·H)
        # under autocast the keys have its precision: a grid of that precision is not cast again at every word
        image = {"grid": grid.to(keys.dtype), "keys": keys, "Wih v": mean}
        layers = {"attending": self.attending, "hidden": self.recurrent}
        return State({**image, **there}, {name: each.initial(len(mean), 1, like=mean) for name, each in layers.items()})

    def outputs(self, words: Tensor, loop: Loop) -> Tensor:
        """The hidden states h2 ``(…, H)`` of words ``(…)``."""
        terms = self.attending.input(self.embed(words)) + loop.image("Wih v")
        (h2,) = loop.steps(self.time_step, ("attending", "hidden"), terms)
        return h2

    def time_step(self, now: Now, attending: Tensor, hidden: Tensor, terms: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Compute equations 1 to 6.

        Args:
            now: the time step, with the images' parts.
            attending: ``(…, 1, C)``, the state of the attention layer before the word.
            hidden: ``(…, depth, C)``, the states of the language layers before the word.
            terms: ``(…, G·H)``, the attention layer's ``Wxh We Π + Wih v̄``.

        Returns:
            The states of both after the word, and the highest layer's hidden state h2 ``(…, H)``.
        """
        h2 = hidden[..., -1, : self.hidden_size]
        h1, attending = self.attending.step_terms(terms + self.Wh2(h2), attending)
        attention = self.attention(now.image("keys"), h1, now.find_image("there"))  # (…, L)
        now.trace("attention", attention)
        attended = now.weighted_sum(attention, "grid")
        h2, hidden = self.recurrent.step(h1, hidden, self.recurrent.image(attended))
        return attending, hidden, h2
