"""Xu et al., "Show, Attend and Tell: Neural Image Caption Generation with Visual Attention", ICML 2015.

arXiv 1502.03044. The recurrence is equations 1 to 3, the attention 4 to 6, the initial state the two unnumbered
equations that follow them, the deep output layer 7. Hard attention is section 4.1 (equations 8 to 12), soft attention
section 4.2 (equation 13), the gate β and the doubly stochastic penalty section 4.2.1 (equation 14).

Deviations, and what the paper leaves open:

- The cell may be any cell of any depth: the context enters the lowest layer through ``Wih``, in every gate, and the
  query of the attention is the highest layer's hidden state.
- The perceptrons of the attention and of the initial state have one hidden layer of tanh units; an initial state ends
  in tanh, as in the authors' code.
- The losses are sums over the batch, divided by the batch's number of words as the words' loss is; the paper's losses
  are sums over a caption. The ratio of the losses is the paper's.
- In search and evaluation hard attention uses the expected location, ``Σ α_i a_i``, as in the authors' code.
"""

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor, nn

from captioning.cells import Cell, Recurrent
from captioning.core.features import Features, FeatureSpec
from captioning.core.packing import Packing
from captioning.core.state import State
from captioning.core.sums import Sum
from captioning.decoders.attention import AdditiveAttention
from captioning.decoders.decoder import Outputs
from captioning.decoders.loop import Loop, Now
from captioning.decoders.recurrent import RecurrentDecoder
from captioning.decoders.regions import find_regions, region_size

TINY = 1e-10  # keeps the logarithm of a vanishing weight finite


class ShowAttendTell(RecurrentDecoder):
    """A captioner that attends to an image's regions before each word: to all by weight, or to one drawn by weight."""

    baseline: Tensor

    def __init__(
        self,
        vocabulary_size: int,
        features: FeatureSpec,
        cell: Callable[..., Cell],
        *,
        embedding_size: int = 512,
        attends: str = "grid",
        attention: Literal["soft", "hard"] = "soft",
        attention_size: int = 512,
        doubly_stochastic: float = 1.0,
        reinforce: float = 0.01,
        entropy: float = 0.002,
        expected: float = 0.5,
        **common: Any,
    ) -> None:
        """Make the layers.

        Args:
            vocabulary_size: V, the number of words.
            features: the shapes of the encoder's features.
            cell: a function that makes one recurrent layer.
            embedding_size: E, and the width O of the deep output layer.
            attends: the name of the part of the features whose regions the decoder attends to.
            attention: ``soft`` (section 4.2) or ``hard`` (section 4.1).
            attention_size: A, the hidden layer of the attention's perceptron.
            doubly_stochastic: λ of equation 14, for soft attention.
            reinforce: λr, the weight of the estimator's reward term, for hard attention; 1 gives the exact gradient,
                the authors' code has about 0.01 (a tenth of a mean over a caption's words).
            entropy: λe, the weight of the entropy of the locations, for hard attention.
            expected: the probability that an image uses the expected location instead of a sampled one, for hard
                attention in training.
            common: the settings of ``RecurrentDecoder``.

        Raises:
            CaptioningError: the encoder has no such part, the part has no regions, or see ``RecurrentDecoder``.
        """
        super().__init__(
            vocabulary_size, features, cell, embedding_size=embedding_size, output_size=embedding_size, **common
        )
        self.attends, self.reads = attends, (attends,)
        self.hard = attention == "hard"
        self.traced = ("attention", "glimpse") if self.hard else ("attention",)
        self.doubly_stochastic, self.reinforce, self.entropy = doubly_stochastic, reinforce, entropy
        self.expected = expected
        D, E, H = region_size(features, attends), self.embedding_size, self.hidden_size
        self.recurrent = Recurrent(cell, E, H, self.depth, image_size=D, dropout=self.layer_dropout)
        self.initial = nn.ModuleList(
            nn.Sequential(nn.Linear(D, H), nn.Tanh(), nn.Linear(H, self.depth * H), nn.Tanh())
            for _ in range(self.recurrent.layer(0).memories)
        )
        self.attention = AdditiveAttention(D, H, attention_size)
        self.gate = nn.Linear(H, 1)
        self.Lh = nn.Linear(H, E)
        self.Lz = nn.Linear(D, E, bias=False)
        if self.hard:
            self.register_buffer("baseline", torch.zeros(()))

    def start(self, features: Features) -> State:
        """The keys of the attention, computed once per image, and a state made from the mean of the image's regions."""
        mean, (grid, image) = features.mean(self.attends), find_regions(features, self.attends)
        parts = [perceptron(mean).unflatten(-1, (1, self.depth, -1)) for perceptron in self.initial]
        if self.hard and self.training:
            image["expected"] = torch.rand(len(mean), 1, device=mean.device) < self.expected
        keys = self.attention.keys(grid)  # (B, L, A)
        # under autocast the keys have its precision: a grid of that precision is not cast again at every word
        image |= {"grid": grid.to(keys.dtype), "keys": keys}
        return State(image, {"hidden": torch.cat(parts, dim=-1)})  # (B, 1, depth, C)

    def outputs(self, words: Tensor, loop: Loop) -> Tensor:
        """The output layer's inputs ``E y + Lh h + Lz z``, ``(…, E)``, of words ``(…)``: equation 7 without its Lo."""
        y = self.embed(words)
        h, z = loop.steps(self.time_step, "hidden", self.recurrent.input(y))
        output: Tensor = y + self.Lh(h) + self.Lz(z)
        return output

    def time_step(self, now: Now, hidden: Tensor, terms: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Compute equations 1 to 6 with the gate of section 4.2.1: the attention before a word, and the recurrence.

        Args:
            now: the time step, with the images' parts.
            hidden: ``(…, depth, C)``, the states before the word.
            terms: ``(…, G·H)``, the lowest layer's ``Wxh E y``.

        Returns:
            The states after the word, the highest layer's hidden state h ``(…, H)``, and the context z ``(…, D)``.
        """
        query = hidden[..., -1, : self.hidden_size]
        attention = self.attention(now.image("keys"), query, now.find_image("there"))  # (…, L)
        glimpse = self.glimpse(attention, now.find_image("expected"))
        z = self.gate(query).sigmoid() * now.weighted_sum(glimpse, "grid")
        h, hidden = self.recurrent.step_terms(terms, hidden, self.recurrent.image(z))
        now.trace("attention", attention)
        if self.hard:
            now.trace("glimpse", glimpse)
        return hidden, h, z

    def glimpse(self, attention: Tensor, expected: Tensor | None) -> Tensor:
        """The weight of each region in the context: the attention weights, or 1 for one sampled region.

        Args:
            attention: ``(…, L)``, the attention weights.
            expected: ``(…, 1)``, True for the sequences that use the attention weights despite hard attention; None for
                all.

        Returns:
            ``(…, L)``.
        """
        return attention if expected is None else torch.where(expected, attention, self.sample(attention))

    def sample(self, attention: Tensor) -> Tensor:
        """One region drawn by its weight (equation 8), as a one-hot vector ``(…, L)``.

        Of exponential variables with the weights as their rates, the first arrival has these probabilities. (As in
        ``torch.multinomial``, which also checks the weights, for which a GPU waits.)
        """
        weights = attention.detach()
        place = (weights / torch.empty_like(weights).exponential_()).argmax(-1, keepdim=True)
        return torch.zeros_like(weights).scatter_(-1, place, 1.0)

    def losses(self, outputs: Outputs, features: Features, packing: Packing, log_likelihood: Tensor) -> dict[str, Sum]:
        """The doubly stochastic penalty of soft attention; the estimator and the entropy of hard attention."""
        attention = outputs.trace["attention"].float()  # (M, L), summed in full precision
        words = len(attention)
        if not self.hard:
            unseen = 1 - _per_caption(attention, packing)  # (N, L), over all words of a caption
            there = features.mask(self.attends)
            if there is not None:
                unseen = unseen * there.index_select(0, packing.images)
            return {"doubly_stochastic": Sum(self.doubly_stochastic * unseen.square().sum(), words)}
        log_attention = attention.clamp_min(TINY).log()
        # the expected location adds nothing: Σ α ∇log α = ∇Σ α = 0
        chosen = (outputs.trace["glimpse"].detach() * log_attention).sum(-1)  # (M,) log p(s_t)
        reward = _per_caption(log_likelihood.detach(), packing)  # (N,) log p(y | s)
        advantage = (reward - self.baseline)[packing.row_captions]  # (M,)
        if self.training:
            self.baseline += 0.1 * (reward.mean() - self.baseline)
        return {
            "reinforce": Sum(-self.reinforce * (advantage * chosen).sum(), words),
            "entropy": Sum(self.entropy * (attention * log_attention).sum(), words),
        }


def _per_caption(values: Tensor, packing: Packing) -> Tensor:
    """Sums ``(N, …)`` of values ``(M, …)`` over the words of each caption."""
    return values.new_zeros(packing.sizes[0], *values.shape[1:]).index_add(0, packing.row_captions, values)
