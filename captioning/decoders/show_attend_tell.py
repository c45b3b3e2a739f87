"""Xu et al., "Show, Attend and Tell: Neural Image Caption Generation with Visual Attention", ICML 2015.

arXiv 1502.03044. The recurrence is equations 1 to 3, the attention 4 to 6, the initial state the two unnumbered
equations that follow them, the deep output layer 7. Hard attention is section 4.1 (equations 8 to 12), soft attention
section 4.2 (equation 13), the gate β and the doubly stochastic penalty section 4.2.1 (equation 14).

Deviations, and what the paper leaves open:

- The cell may be any and of any depth: the context enters the lowest layer through ``Wih``, in every gate, and the
  highest layer's hidden state asks for it.
- The perceptrons of the attention and of the initial state have one hidden layer, of tanh; an initial state ends in
  tanh, as in the authors' code.
- Losses are sums over the batch divided by its number of words, as the words' own loss is; the paper's are sums over
  a caption. Their ratio is the paper's.
- In search and evaluation hard attention looks at the expected location, ``Σ α_i a_i``, as in the authors' code.
"""

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from captioning.cells import Cell, Recurrent
from captioning.core.features import Features, FeatureSpec
from captioning.core.packing import Packing
from captioning.core.state import State
from captioning.decoders.attention import AdditiveAttention
from captioning.decoders.decoder import Decoder, Reading
from captioning.speed.linear import Linear
from captioning.speed.repeated import Repeated, repeated

TINY = 1e-10  # keeps the logarithm of a weight that has vanished finite


class ShowAttendTell(Decoder):
    """Looks at the regions of the grid before each word: at all of them by weight, or at one of them by chance."""

    reads = ("grid",)
    baseline: Tensor

    def __init__(
        self,
        vocabulary_size: int,
        features: FeatureSpec,
        cell: Callable[..., Cell],
        *,
        embedding_size: int = 512,
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
            vocabulary_size: V.
            features: the sizes of what the encoder gives.
            cell: makes one recurrent layer.
            embedding_size: E, and the width O of the deep output layer.
            attention: ``soft`` (section 4.2) or ``hard`` (section 4.1).
            attention_size: A, the hidden layer of the attention's perceptron.
            doubly_stochastic: λ of equation 14, for soft attention.
            reinforce: λr, the weight of the estimator's reward term, for hard attention; 1 is the exact gradient's, the
                authors' code has about 0.01 (a tenth of a mean over a caption's words).
            entropy: λe, the weight of the entropy of the locations, for hard attention.
            expected: the share of photographs that are given the expected location in place of a sampled one, for
                hard attention in training.
            common: what all decoders take, see ``Decoder``.
        """
        super().__init__(
            vocabulary_size, features, cell, embedding_size=embedding_size, output_size=embedding_size, **common
        )
        self.hard = attention == "hard"
        self.traced = ("attention", "glimpse") if self.hard else ("attention",)
        self.doubly_stochastic, self.reinforce, self.entropy = doubly_stochastic, reinforce, entropy
        self.expected = expected
        D, E, H = features.size("grid"), self.embedding_size, self.hidden_size
        self.recurrent = Recurrent(cell, E, H, self.depth, image_size=D, dropout=self.layer_dropout)
        self.initial = nn.ModuleList(
            nn.Sequential(Linear(D, H), nn.Tanh(), Linear(H, self.depth * H), nn.Tanh())
            for _ in range(self.recurrent.layer(0).memories)
        )
        self.attention = AdditiveAttention(D, H, attention_size)
        self.gate = Repeated(H, 1)
        self.Lh = Linear(H, E)
        self.Lz = Linear(D, E, bias=False)
        if self.hard:
            self.register_buffer("baseline", torch.zeros(()))

    def start(self, features: Features) -> State:
        """The keys of the attention once per photograph, and a state made from the mean of its regions."""
        mean = features.mean("grid")  # (B, D)
        parts = [perceptron(mean).unflatten(-1, (1, self.depth, -1)) for perceptron in self.initial]
        sequence = {"hidden": torch.cat(parts, dim=-1)}  # (B, 1, depth, C)
        if self.hard and self.training:
            sequence["expected"] = torch.rand(len(mean), 1, 1, device=mean.device) < self.expected
        keys = self.attention.keys(features["grid"])  # (B, L, A)
        # under autocast the keys have its precision: in the same one the grid is not cast again at every word
        return State({"grid": features["grid"].to(keys.dtype), "keys": keys}, sequence)

    def advance(self, tokens: Tensor, state: State) -> tuple[Tensor, State]:
        """One word: ``(B, S)`` to ``(B, S, E)``."""
        before = state.sequence["hidden"]
        asking = before[..., -1, : self.hidden_size]  # (B, S, H)
        attention = self.attention(state.image["keys"].unsqueeze(1), asking)  # (B, S, L)
        glimpse = self._glimpse(attention, state.sequence.get("expected"))
        context = self.gate(asking).sigmoid() * (glimpse @ state.image["grid"])  # (B, S, D)
        embedded = self.embed(tokens)
        top, hidden = self.recurrent.step(embedded, before, self.recurrent.image(context))
        sequence = state.sequence | {"hidden": hidden, "attention": attention}
        if self.hard:
            sequence["glimpse"] = glimpse
        return self._deep_output(embedded, top, context), State(state.image, sequence)

    def read(self, features: Features, words: Tensor, packing: Packing) -> Reading:
        """Whole captions: the words' terms, the keys and the deep output layer are outside of the loop over words."""
        state = self.start(features)
        embedded = self.embed(words)  # (M, E)
        keys = state.image["keys"].index_select(0, packing.images)  # (N, L, A)
        hidden = state.sequence["hidden"].squeeze(1).index_select(0, packing.images)  # (N, depth, C)
        expected = state.sequence.get("expected")  # (B, 1, 1)
        expected = None if expected is None else expected.squeeze(1).index_select(0, packing.images)  # (N, 1)
        steps = []
        inputs = torch.split(self.recurrent.input(embedded), list(packing.sizes))
        with repeated([self.attention.query, self.gate, self.recurrent], packing.sizes):
            for terms in inputs:
                n = len(terms)
                keys, hidden, expected = keys[:n], hidden[:n], None if expected is None else expected[:n]
                asking = hidden[:, -1, : self.hidden_size]  # (n, H)
                attention = self.attention(keys, asking)  # (n, L)
                glimpse = self._glimpse(attention, expected)
                context = self.gate(asking).sigmoid() * _look(glimpse, state.image["grid"], packing)  # (n, D)
                top, hidden = self.recurrent.step_terms(terms, hidden, self.recurrent.image(context))
                steps.append((top, context, attention, glimpse))
        top, context, attention, glimpse = (torch.cat(values) for values in zip(*steps, strict=True))
        trace = {"attention": attention, "glimpse": glimpse} if self.hard else {"attention": attention}
        return Reading(self._deep_output(embedded, top, context), trace)

    def losses(
        self, reading: Reading, features: Features, packing: Packing, log_likelihood: Tensor
    ) -> dict[str, Tensor]:
        """The doubly stochastic penalty of soft attention; the estimator and the entropy of hard attention."""
        attention = reading.trace["attention"].float()  # (M, L), summed up in full precision
        words = len(attention)
        if not self.hard:
            seen = _per_caption(attention, packing)  # (N, L), over all words of a caption
            return {"doubly_stochastic": self.doubly_stochastic * (1 - seen).square().sum() / words}
        log_attention = attention.clamp_min(TINY).log()
        # where the expected location was taken this adds nothing: Σ α ∇log α = ∇Σ α = 0
        chosen = (reading.trace["glimpse"].detach() * log_attention).sum(-1)  # (M,) log p(s_t)
        reward = _per_caption(log_likelihood.detach(), packing)  # (N,) log p(y | s)
        advantage = (reward - self.baseline)[packing.row_captions]  # (M,)
        if self.training:
            self.baseline += 0.1 * (reward.mean() - self.baseline)
        return {
            "reinforce": -self.reinforce * (advantage * chosen).sum() / words,
            "entropy": self.entropy * (attention * log_attention).sum() / words,
        }

    def _glimpse(self, attention: Tensor, expected: Tensor | None) -> Tensor:
        """How much of each region is seen, ``(…, L)``: the weights, or all of one region drawn by them.

        Args:
            attention: ``(…, L)``.
            expected: ``(…, 1)`` which see the weights though attention is hard; None for all.
        """
        return attention if expected is None else torch.where(expected, attention, self._sample(attention))

    def _sample(self, attention: Tensor) -> Tensor:
        """Equation 8: one region by its weight, as a one-hot vector ``(…, L)``."""
        weights = attention.detach().flatten(0, -2)
        place = torch.multinomial(weights, 1).squeeze(-1)
        return F.one_hot(place, weights.shape[-1]).to(weights.dtype).view_as(attention)

    def _deep_output(self, embedded: Tensor, top: Tensor, context: Tensor) -> Tensor:
        """Equation 7 up to Lo, which is the word layer: ``E y + Lh h + Lz z``, ``(…, E)``."""
        output: Tensor = embedded + self.Lh(top) + self.Lz(context)
        return output


def _look(glimpse: Tensor, grid: Tensor, packing: Packing) -> Tensor:
    """What the first n captions see, ``(n, L)`` to ``(n, D)``, without a copy of the grid for each of them."""
    B, S, _ = packing.shape
    captions = packing.captions[: len(glimpse)]
    spread = glimpse.new_zeros(B * S, glimpse.shape[-1]).index_copy(0, captions, glimpse)
    return (spread.view(B, S, -1) @ grid).flatten(0, 1).index_select(0, captions)


def _per_caption(values: Tensor, packing: Packing) -> Tensor:
    """Sums over the words of each caption, ``(M, …)`` to ``(N, …)``."""
    return values.new_zeros(packing.sizes[0], *values.shape[1:]).index_add(0, packing.row_captions, values)
