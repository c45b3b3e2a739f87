"""Captions generated word by word, without revision: greedy search and sampling.

Dimensions: B images (B' of them still searched), N captions of an image, V vocabulary, K words that may be drawn.
"""

from abc import abstractmethod
from copy import copy

import torch
from torch import Tensor

from captioning.core.draw import draw
from captioning.core.features import Features
from captioning.core.state import gather
from captioning.core.vocabulary import END, PAD, START
from captioning.search.history import History, Step, shown
from captioning.search.search import Captions, ConditionalModel, Search, require, require_temperature, still_open


class Rollout(Search):
    """A search that chooses the next word of each caption on its own.

    Attributes:
        samples: N, the number of captions of each image.
    """

    samples = 1

    @abstractmethod
    def choose(self, log_probs: Tensor) -> Tensor:
        """The next words ``(B', N)``, from their log-probabilities ``(B', N, V)``."""

    def search(self, decoder: ConditionalModel, features: Features, attention: bool) -> Captions:
        """Generate word after word until all captions have ended."""
        B, N, device = features.images, self.samples, features.device
        rows = torch.arange(B, device=device)
        slots = torch.arange(N, device=device).expand(B, N)
        scores = torch.zeros(B, N, device=device)
        ended = torch.zeros(B, N, dtype=torch.bool, device=device)
        tokens = torch.full((B, 1), START, device=device)
        state = decoder.start(features)
        history = History()
        for t in range(self.max_length):
            logits, state = decoder.step(tokens, state)
            if t == 0:  # START is fed once for all captions of an image
                first = torch.zeros_like(slots)
                logits, state = gather(logits, first), state.reorder(first)
            log_probs = self.log_probabilities(logits, tokens)
            tokens = self.choose(log_probs).masked_fill(ended, PAD)
            said = log_probs.gather(-1, tokens.unsqueeze(-1)).squeeze(-1)
            scores[rows] += said.masked_fill(ended, 0.0)
            history.append(Step(rows, tokens, slots[: len(rows)], shown(state, attention)))
            ended = ended | (tokens == END)
            going = still_open(~ended.all(dim=1), t)
            if going is not None:
                if not len(going):
                    break
                rows, tokens, ended, state = rows[going], tokens[going], ended[going], state.select(going)
        scores, slot = scores.sort(dim=1, descending=True, stable=True)
        tokens, parts = history.trace(torch.full_like(slot, len(history) - 1), slot)
        return Captions(tokens, scores, **parts)


class Greedy(Rollout):
    """Greedy search: the likeliest word at every step; equal to ``Beam(size=1)``."""

    def choose(self, log_probs: Tensor) -> Tensor:
        """The likeliest words; among equally likely words the one with the lowest number."""
        return log_probs.argmax(dim=-1)

    def with_captions(self, count: int) -> "Greedy":
        """The same search.

        Raises:
            CaptioningError: ``count`` is not 1.
        """
        require(
            count == 1,
            f"{count} captions of each photograph: greedy search finds one. "
            f"Take beam search of a width of {max(count, 2)} or more (--beam {max(count, 2)}), or --sample.",
        )
        return self


class Sample(Rollout):
    """Sampling: words drawn by their probability, N captions of each image.

    The temperature is applied first, then top-k (Fan et al. 2018, arXiv 1805.04833, section 5.1), then top-p, the
    nucleus (Holtzman et al. 2020, arXiv 1904.09751, equation 2). Scores are the decoder's own log-probabilities, before
    all three.
    """

    def __init__(
        self,
        max_length: int = 20,
        temperature: float = 1.0,
        top_k: int = 0,
        top_p: float = 1.0,
        samples: int = 1,
        seed: int | None = None,
        remove_bad_endings: bool = False,
    ) -> None:
        """Take the settings.

        Args:
            max_length: the largest number of tokens of a caption, ``<end>`` included.
            temperature: the divisor of the logits; below 1 the distribution is sharper, above 1 flatter.
            top_k: the number of likeliest words to draw from; 0 for all words.
            top_p: the least total probability of the likeliest words to draw from, as few as reach it; 1 for all words.
            samples: N, the number of captions of each image.
            seed: the seed of a separate generator, seeded once, so that the same calls in the same order give the same
                captions; None for torch's global generator.
            remove_bad_endings: whether ``<end>`` is ruled out after a function word, see ``Search``.

        Raises:
            CaptioningError: a setting is out of its range.
        """
        super().__init__(max_length, remove_bad_endings)
        require_temperature(temperature)
        require(top_k >= 0, f"search.top_k={top_k}: take 1 or more, or 0 for all words.")
        require(0 < top_p <= 1, f"search.top_p={top_p}: take one above 0 and up to 1.")
        require(samples >= 1, f"search.samples={samples}: take 1 or more.")
        self.temperature, self.top_k, self.top_p, self.samples, self.seed = temperature, top_k, top_p, samples, seed
        self._generators: dict[torch.device, torch.Generator] = {}  # by device; shared by ``with_captions``

    def choose(self, log_probs: Tensor) -> Tensor:
        """Draw the next words."""
        probabilities, words = self.distribution(log_probs)
        drawn = draw(probabilities, self._generator_on(log_probs.device))
        return drawn if words is None else words.gather(-1, drawn.unsqueeze(-1)).squeeze(-1)

    def distribution(self, log_probs: Tensor) -> tuple[Tensor, Tensor | None]:
        """The distribution of the next words.

        Args:
            log_probs: ``(B', N, V)``, the log-probabilities of the next words.

        Returns:
            Probabilities ``(B', N, K)``, likeliest first, and their words ``(B', N, K)``; without top-k and top-p the
            probabilities of all V words in order, and None.
        """
        log_probs, words = log_probs / self.temperature, None
        if self.top_k or self.top_p < 1:
            vocabulary_size = log_probs.shape[-1]
            log_probs, words = log_probs.topk(min(self.top_k or vocabulary_size, vocabulary_size))
        probabilities = log_probs.softmax(dim=-1)
        if self.top_p < 1:
            likelier = probabilities.cumsum(dim=-1) - probabilities  # the probability of all words before each word
            probabilities = probabilities.masked_fill(likelier >= self.top_p, 0.0)  # a draw takes any sum
        return probabilities, words

    def with_captions(self, count: int) -> "Sample":
        """The same sampling, ``count`` captions of each image; both searches share the random generator."""
        require(count >= 1, f"{count} captions of each photograph: take 1 or more.")
        search = copy(self)
        search.samples = count
        return search

    def _generator_on(self, device: torch.device) -> torch.Generator | None:
        if self.seed is not None and device not in self._generators:
            self._generators[device] = torch.Generator(device).manual_seed(self.seed)
        return self._generators.get(device)
