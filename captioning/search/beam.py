"""Beam search over a whole batch of images.

Dimensions: B images (B' of them still searched), S live beams of an image, N captions of an image, T words.
"""

from copy import copy

import torch
from torch import Tensor

from captioning.core.features import Features
from captioning.core.state import gather
from captioning.core.vocabulary import END, START
from captioning.search.extend import best_extensions, block_repeats
from captioning.search.history import History, Step, shown
from captioning.search.search import Captions, ConditionalModel, Search, log_probabilities, require, still_open


class Beam(Search):
    """Beam search: the best captions among a limited number of beams.

    Each step keeps the ``size`` best extensions of an image's live beams. Extensions by ``<end>`` are captions and
    leave the search; the others stay live. A caption of T tokens has the score ``log p / T**length_penalty``. A beam is
    dropped when none of its extensions can enter the N best captions: ``log p`` never rises, so the beam's score stays
    below ``log p / max_length**length_penalty``. An image with no live beam is finished. Beams cut at ``max_length``
    are ranked behind all captions that ended.

    With length penalty 1 the score is the mean log-probability of a token; exponents between 0 and 1 are the
    normalization of Wu et al. 2016 (arXiv 1609.08144, section 7), who found 0.6 to 0.7 best for translation.
    """

    def __init__(
        self,
        size: int = 5,
        max_length: int = 20,
        length_penalty: float = 0.0,
        block_ngrams: int = 0,
        n_best: int = 1,
    ) -> None:
        """Take the settings.

        Args:
            size: the number of beams.
            max_length: the largest number of tokens of a caption, ``<end>`` included.
            length_penalty: the exponent of the length in the score; 0 for the plain log-probability, a larger one for
                longer captions.
            block_ngrams: the length of the word sequences that no caption repeats; 0 allows repeats.
            n_best: N, the number of captions of each image.

        Raises:
            CaptioningError: a setting is out of its range.
        """
        super().__init__(max_length)
        require(size >= 1, f"search.size={size}: take 1 beam or more.")
        require(length_penalty >= 0, f"search.length_penalty={length_penalty}: take 0 or more.")
        require(block_ngrams >= 0, f"search.block_ngrams={block_ngrams}: take 1 or more, or 0 to allow repeats.")
        require(1 <= n_best <= size, f"search.n_best={n_best}: {size} beams give 1 to {size} captions each.")
        self.size, self.length_penalty, self.block_ngrams, self.n_best = size, length_penalty, block_ngrams, n_best

    def search(self, decoder: ConditionalModel, features: Features, attention: bool) -> Captions:
        """Extend the beams until none can enter the best captions, then trace the best captions backwards."""
        B, device = features.images, features.device
        rows = torch.arange(B, device=device)
        tokens = torch.full((B, 1), START, device=device)
        scores = torch.zeros(B, 1, device=device)
        words = tokens[:, :, None][..., :0]  # (B, S, T), kept only to block n-grams
        state = decoder.start(features)
        history, best = History(), _Best(B, self.n_best, device)
        for t in range(self.max_length):
            logits, state = decoder.step(tokens, state)
            log_probs = log_probabilities(logits)
            if self.block_ngrams:
                log_probs = block_repeats(log_probs, words, self.block_ngrams)
            scores, parents, tokens = best_extensions(log_probs, scores, self.size)
            history.append(Step(rows, tokens, parents, shown(state, attention)))

            ended = tokens == END
            best.offer(rows, t, self._score(scores, t + 1).masked_fill(~ended, -torch.inf))
            hopeless = self._score(scores, self.max_length) <= best.worst[rows]
            scores = scores.masked_fill(ended | hopeless, -torch.inf)
            going = still_open((scores > -torch.inf).any(dim=1))
            if going is not None:
                if not len(going):
                    break
                rows, tokens, scores = rows[going], tokens[going], scores[going]
                parents, words, state = parents[going], words[going], state.select(going)
            state = state.reorder(parents)
            if self.block_ngrams:
                words = torch.cat([gather(words, parents), tokens.unsqueeze(-1)], dim=-1)
        else:
            best.offer(rows, t, self._score(scores, self.max_length), cut=True)
        tokens, parts = history.trace(best.last, best.slot)
        return Captions(tokens, best.scores, **parts)

    def with_captions(self, count: int) -> "Beam":
        """The same search, for the ``count`` best captions of each image.

        Raises:
            CaptioningError: the search has fewer beams.
        """
        require(
            1 <= count <= self.size,
            f"{count} captions of each photograph: beam search of width {self.size} finds 1 to {self.size}. "
            f"Take a width of {count} or more (--beam {count}, search.size={count}).",
        )
        search = copy(self)
        search.n_best = count
        return search

    def _score(self, log_probs: Tensor, length: int) -> Tensor:
        return log_probs / float(length**self.length_penalty)


class _Best:
    """The N best captions of each image so far, as places in the history.

    Attributes:
        scores: ``(B, N)``, best first; ``-inf`` where there is no caption yet.
        last: ``(B, N)``, the step of the last token; -1 where there is no caption yet.
        slot: ``(B, N)``, the beam at that step.
    """

    def __init__(self, batch: int, captions: int, device: torch.device) -> None:
        self.scores = torch.full((batch, captions), -torch.inf, device=device)
        self.last = torch.full((batch, captions), -1, device=device)
        self.slot = torch.zeros_like(self.last)

    @property
    def worst(self) -> Tensor:
        """``(B, 1)``, the score that a caption must exceed to enter."""
        return self.scores[:, -1:]

    def offer(self, rows: Tensor, step: int, scores: Tensor, cut: bool = False) -> None:
        """Merge further captions into the N best; among equal scores the earlier caption comes first.

        Args:
            rows: ``(B',)``, the images of the captions.
            step: the step of the captions' last token.
            scores: ``(B', S)``, the scores of the beams at that step; ``-inf`` for a beam that is no caption.
            cut: whether the captions were cut; cut captions rank behind all ended ones, in the order of the beams.
        """
        slot = torch.arange(scores.shape[1], device=scores.device).expand_as(scores)
        scores = torch.cat([self.scores[rows], scores], dim=1)
        last = torch.cat([self.last[rows], torch.full_like(slot, step)], dim=1)
        slot = torch.cat([self.slot[rows], slot], dim=1)
        key = (scores > -torch.inf).float() if cut else scores
        order = key.sort(dim=1, descending=True, stable=True).indices[:, : self.scores.shape[1]]
        self.scores[rows] = scores.gather(1, order)
        self.last[rows] = last.gather(1, order)
        self.slot[rows] = slot.gather(1, order)
