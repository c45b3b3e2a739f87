"""Beam search over a whole batch of images.

Dimensions: B images (B' of them still searched), S live beams of an image, N captions of an image, T words,
V vocabulary.
"""

from copy import copy
from typing import Self

import torch
from torch import Tensor

from captioning.core.features import Features
from captioning.core.state import gather
from captioning.core.vocabulary import END, START
from captioning.search.best import Best
from captioning.search.extend import best_extensions, block_repeats
from captioning.search.history import History, Step, shown
from captioning.search.search import Captions, ConditionalModel, Search, require, still_open

PENALTY = 100  # the greatest exponent of a length: a length of 1000 to a larger one is no number of 64 bits


class Beams:
    """The live beams of one search, and the best captions so far; a kind of beam search is a subclass.

    Attributes:
        search: the settings.
        best: the N best captions of each image so far.
    """

    def __init__(self, search: "Beam", images: int, device: torch.device) -> None:
        """Begin with one empty beam for each of B images."""
        self.search = search
        self.best = Best(images, search.n_best, device)

    def extend(self, log_probs: Tensor, scores: Tensor, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The extensions that stay, of all extensions of the live beams by a word.

        Args:
            log_probs: ``(B', S, V)``, the log-probabilities of the next word.
            scores: ``(B', S)``, the log-probabilities of the beams so far; ``-inf`` for a dead one.
            rows: ``(B',)``, the images still searched.

        Returns:
            Log-probabilities, parents (which beam is extended) and tokens (by which word), each ``(B', S')``.
        """
        return best_extensions(log_probs, scores, self.search.size)

    def hopeless(self, bounds: Tensor, rows: Tensor) -> Tensor:
        """The beams that need no further step.

        Args:
            bounds: ``(B', S)``, the scores that no caption of the beams exceeds.
            rows: ``(B',)``, the images still searched.

        Returns:
            ``(B', S)`` or ``(B', 1)``, True for beams that can't change the best captions.
        """
        return bounds <= self.best.worst(rows)

    def offer(self, rows: Tensor, step: int, scores: Tensor, cut: bool = False) -> None:
        """Merge further captions into the best, see ``Best.offer``."""
        self.best.offer(rows, step, scores, cut)

    def captions(self, history: History) -> Captions:
        """The captions found, after the last step."""
        tokens, parts = history.trace(self.best.last, self.best.slot)
        return Captions(tokens, self.best.scores, **parts)


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
        remove_bad_endings: bool = False,
    ) -> None:
        """Take the settings.

        Args:
            size: the number of beams.
            max_length: the largest number of tokens of a caption, ``<end>`` included.
            length_penalty: the exponent of the length in the score; 0 for the plain log-probability, a larger one for
                longer captions.
            block_ngrams: the length of the word sequences that no caption repeats; 0 allows repeats.
            n_best: N, the number of captions of each image.
            remove_bad_endings: whether ``<end>`` is ruled out after a function word, see ``Search``.

        Raises:
            CaptioningError: a setting is out of its range.
        """
        super().__init__(max_length, remove_bad_endings)
        require(size >= 1, f"search.size={size}: take 1 beam or more.")
        require(
            0 <= length_penalty <= PENALTY,
            f"search.length_penalty={length_penalty}: take a number from 0 to {PENALTY}.",
        )
        require(block_ngrams >= 0, f"search.block_ngrams={block_ngrams}: take 1 or more, or 0 to allow repeats.")
        require(1 <= n_best <= size, f"search.n_best={n_best}: {size} beams give 1 to {size} captions each.")
        self.size, self.length_penalty, self.block_ngrams, self.n_best = size, length_penalty, block_ngrams, n_best

    def beams(self, images: int, device: torch.device) -> Beams:
        """The beams at the beginning of a search over B images."""
        return Beams(self, images, device)

    def search(self, decoder: ConditionalModel, features: Features, attention: bool) -> Captions:
        """Extend the beams until none can enter the best captions, then trace the best captions backwards."""
        B, device = features.images, features.device
        rows = torch.arange(B, device=device)
        tokens = torch.full((B, 1), START, device=device)
        scores = torch.zeros(B, 1, device=device)
        words = tokens[:, :, None][..., :0]  # (B, S, T), kept only to block n-grams
        state = decoder.start(features)
        history, beams = History(), self.beams(B, device)
        for t in range(self.max_length):
            logits, state = decoder.step(tokens, state)
            log_probs = self.log_probabilities(logits, tokens)
            if self.block_ngrams:
                log_probs = block_repeats(log_probs, words, self.block_ngrams)
            scores, parents, tokens = beams.extend(log_probs, scores, rows)
            history.append(Step(rows, tokens, parents, shown(state, attention)))

            ended = tokens == END
            beams.offer(rows, t, self._score(scores, t + 1).masked_fill(~ended, -torch.inf))
            hopeless = beams.hopeless(self._score(scores, self.max_length), rows)
            scores = scores.masked_fill(ended | hopeless, -torch.inf)
            going = still_open((scores > -torch.inf).any(dim=1), t)
            if going is not None:
                if not len(going):
                    break
                rows, tokens, scores = rows[going], tokens[going], scores[going]
                parents, words, state = parents[going], words[going], state.select(going)
            state = state.reorder(parents)
            if self.block_ngrams:
                words = torch.cat([gather(words, parents), tokens.unsqueeze(-1)], dim=-1)
        else:
            beams.offer(rows, t, self._score(scores, self.max_length), cut=True)
        return beams.captions(history)

    def with_captions(self, count: int) -> Self:
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
