"""Constrained beam search (Anderson et al. 2017, arXiv 1612.00576): captions that say given words.

Dimensions: B images (B' of them still searched), A states of the automaton, K beams of a state, S = A·K beams of an
image, C words of the constraints and one for all others, V vocabulary.
"""

from collections.abc import Sequence
from copy import copy
from inspect import signature
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor

from captioning.core.errors import CaptioningError
from captioning.core.vocabulary import END, PAD, Vocabulary
from captioning.search.automaton import Automaton, automaton
from captioning.search.beam import Beam, Beams
from captioning.search.extend import best_extensions, first_best
from captioning.search.rollout import Greedy
from captioning.search.search import Search, require

Words = Sequence[str] | Sequence[Sequence[str]]


class ConstrainedBeam(Beam):
    """Beam search among the captions that say given words, or one of given alternatives, or phrases.

    The words make a finite automaton, and each of its states has ``size`` beams of its own (algorithm 1), so that beams
    that have said a word need not compete with the likelier beams that have not. A caption ends in an accepting state
    alone. Scores are those of beam search; without words the search is ``Beam``.
    """

    def __init__(
        self,
        size: int = 5,
        max_length: int = 20,
        length_penalty: float = 0.0,
        block_ngrams: int = 0,
        n_best: int = 1,
        remove_bad_endings: bool = False,
        must_say: Words = (),
    ) -> None:
        """Take the settings.

        Args:
            size: K, the number of beams of each state.
            max_length: the largest number of tokens of a caption, ``<end>`` included.
            length_penalty: the exponent of the length in the score, see ``Beam``.
            block_ngrams: the length of the word sequences that no caption repeats; 0 allows repeats.
            n_best: N, the number of captions of each image.
            remove_bad_endings: whether ``<end>`` is ruled out after a function word, see ``Search``.
            must_say: the words, in any order: ``"dog"``, a phrase ``"hot dog"``, alternatives ``"ball|frisbee"``; or a
                list of them for each image of a batch.

        Raises:
            CaptioningError: a setting is out of its range.
        """
        super().__init__(size, max_length, length_penalty, block_ngrams, n_best, remove_bad_endings)
        must_say = [must_say] if isinstance(must_say, str) else must_say
        require(isinstance(must_say, Sequence), f"search.must_say={must_say}: give a list of words, [dog].")
        self.must_say = tuple(each if isinstance(each, str) else tuple(each) for each in must_say)
        self.of_each = any(not isinstance(each, str) for each in self.must_say)
        require(
            not (self.of_each and any(isinstance(each, str) for each in self.must_say)),
            "must_say: give words for all images, or a list of words for each image.",
        )
        self._automata: list[Automaton] | None = None

    def for_vocabulary(self, vocabulary: Vocabulary) -> Self:
        """The same search, with the numbers of its words.

        Raises:
            CaptioningError: the vocabulary lacks a word, there are too many words, or ``max_length`` is too small.
        """
        search = copy(super().for_vocabulary(vocabulary))
        known: dict[tuple[str, ...], Automaton] = {}
        for words in self._lists():
            if words not in known:
                known[words] = automaton(words, vocabulary)
                require(
                    known[words].shortest < self.max_length,
                    f"search.max_length={self.max_length}: a caption of {known[words].shortest} words that must be "
                    "said and its end is longer. Take a larger one, or fewer words.",
                )
        search._automata = [known[words] for words in self._lists()]
        return search

    def beams(self, images: int, device: torch.device) -> "ConstrainedBeams":
        """The beams at the beginning of a search over B images.

        Raises:
            CaptioningError: the numbers of the words are unknown, or the images are more or fewer than their lists.
        """
        automata = self._automata
        if automata is None:
            raise CaptioningError(
                "search.must_say needs the numbers of words: call search.for_vocabulary(vocabulary) first."
            )
        require(
            not self.of_each or len(automata) == images,
            f"must_say: {len(automata)} lists of words for {images} images. Give one list for each image.",
        )
        return ConstrainedBeams(self, images, device, automata if self.of_each else automata * images)

    def _lists(self) -> list[tuple[str, ...]]:
        """The words of each image; a single entry if they are the same for all images."""
        lists: list[Sequence[str]] = list(self.must_say) if self.of_each else [self.must_say]  # type: ignore[list-item]
        return [tuple(words) for words in lists]


class ConstrainedBeams(Beams):
    """The live beams of all states, K beams of one state behind those of another.

    Attributes:
        words: ``(B, C - 1)``, the words of each image's constraints; ``<pad>`` where there are fewer.
        following: ``(B, A, C)``, the state after each state, by any other word and by each of ``words``.
        accepting: ``(B, A)``, True for states in which a caption may end.
    """

    def __init__(
        self, search: ConstrainedBeam, images: int, device: torch.device, automata: Sequence[Automaton]
    ) -> None:
        """Begin with one empty beam for each of B images, in the first state."""
        super().__init__(search, images, device)
        A = max((len(each.accepting) for each in automata), default=1)
        C = max((len(each.words) + 1 for each in automata), default=1)
        words = torch.full((images, C - 1), PAD)
        following = torch.zeros(images, A, C, dtype=torch.long)
        accepting = torch.zeros(images, A, dtype=torch.bool)
        for image, each in enumerate(automata):
            states = len(each.accepting)
            words[image, : len(each.words)] = torch.tensor(each.words, dtype=torch.long)
            following[image, :states, : len(each.words) + 1] = torch.tensor(each.following)
            accepting[image, :states] = torch.tensor(each.accepting)
        self.words, self.following, self.accepting = words.to(device), following.to(device), accepting.to(device)

    def extend(self, log_probs: Tensor, scores: Tensor, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The K best extensions into each state, see ``Beams.extend``."""
        B, S, _ = log_probs.shape
        K, A = self.search.size, self.accepting.shape[1]
        following = self.following[rows][:, self._states(S)]  # (B', S, C)
        words = self.words[rows].unsqueeze(1).expand(-1, S, -1)  # (B', S, C - 1)
        log_probs[..., END].masked_fill_(~self.accepting[rows][:, self._states(S)], -torch.inf)
        said = scores.unsqueeze(2) + log_probs.gather(2, words)
        others = log_probs.scatter(2, words, -torch.inf)
        values, _, tokens = best_extensions(others.flatten(0, 1).unsqueeze(1), scores.flatten().unsqueeze(1), K)
        values = torch.cat([values.view(B, S, -1), said], dim=2)  # the K best other words, and the constraints' words
        tokens = torch.cat([tokens.view(B, S, -1), words], dim=2)
        each = values.shape[2]
        targets = torch.cat([following[..., :1].expand(-1, -1, each - words.shape[2]), following[..., 1:]], dim=2)
        missing = max(0, K - S * each)  # in the first steps over a tiny vocabulary
        values, tokens, targets = (F.pad(part.flatten(1), (0, missing)) for part in (values, tokens, targets))
        values[:, S * each :] = -torch.inf
        inside = targets.unsqueeze(1) == torch.arange(A, device=values.device).view(1, A, 1)
        into = values.unsqueeze(1).masked_fill(~inside, -torch.inf)  # (B', A, candidates)
        order = first_best(into.flatten(0, 1), K).view(B, A * K)
        found = into.flatten(0, 1).gather(1, order.view(B * A, K)).view(B, A * K)
        return found, (order // each).clamp_max(S - 1), tokens.gather(1, order)

    def offer(self, rows: Tensor, step: int, scores: Tensor, cut: bool = False) -> None:
        """Merge further captions into the best; a caption that was cut counts if it says the words."""
        accepted = self.accepting[rows][:, self._states(scores.shape[1])]
        super().offer(rows, step, scores.masked_fill(~accepted, -torch.inf), cut)

    def _states(self, beams: int) -> Tensor:
        """``(S,)``, the state of each beam; the one beam of the beginning is in the first state."""
        return torch.arange(beams, device=self.words.device) // self.search.size


def constrained(search: Search, must_say: Words) -> ConstrainedBeam:
    """A beam search with the settings of another search, among the captions that say given words.

    Args:
        search: beam search or greedy search, which is beam search of width 1.
        must_say: the words, see ``ConstrainedBeam``.

    Raises:
        CaptioningError: the search is of another kind.
    """
    if type(search) not in (Greedy, Beam, ConstrainedBeam):
        raise CaptioningError(
            f"{type(search).__name__} can't be made to say given words. Take beam search (--beam 5, search=beam)."
        )
    settings = {"size": 1, "n_best": 1, **vars(search)}
    taken = [name for name in signature(Beam).parameters if name in settings]
    return ConstrainedBeam(**{name: settings[name] for name in taken}, must_say=must_say)
