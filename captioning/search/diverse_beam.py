"""Diverse beam search (Vijayakumar et al. 2016, arXiv 1610.02424), with Hamming diversity.

Dimensions: B images (B' of them still searched), G groups, K beams of a group, S = G·K beams of an image, N captions of
an image, T words, V vocabulary.
"""

import torch
from torch import Tensor

from captioning.core.state import gather
from captioning.core.vocabulary import END, PAD
from captioning.search.beam import Beam, Beams
from captioning.search.best import Best
from captioning.search.extend import best_extensions
from captioning.search.history import History
from captioning.search.search import Captions, require


class DiverseBeam(Beam):
    """Diverse beam search: groups of beams, each of which avoids the words of the groups before it.

    The ``size`` beams are divided into equal groups. At each step the groups choose their extensions one after the
    other (algorithm 1). A group ranks its beams by the log-probability less ``diversity`` times the Hamming diversity:
    the number of beams of earlier groups that have the same token at the same step, summed over the steps (equation 5
    and section 4; ``<end>`` is a token like others). Within a group the search is beam search, and scores of captions
    are those of beam search, without the penalty. One group is ``Beam``.

    The N captions of an image are the groups' best captions, then their second best captions, and so on, without
    repeats; among captions of one rank the better score comes first. The N captions are returned best first.
    """

    def __init__(
        self,
        size: int = 6,
        groups: int = 3,
        diversity: float = 0.5,
        max_length: int = 20,
        length_penalty: float = 0.0,
        block_ngrams: int = 0,
        n_best: int = 1,
        remove_bad_endings: bool = False,
    ) -> None:
        """Take the settings.

        Args:
            size: the number of beams in all groups together.
            groups: G, the number of groups, which divides ``size``.
            diversity: λ, the penalty in nats for a word that a beam of an earlier group chose at the same step.
            max_length: the largest number of tokens of a caption, ``<end>`` included.
            length_penalty: the exponent of the length in the score, see ``Beam``.
            block_ngrams: the length of the word sequences that no caption repeats; 0 allows repeats.
            n_best: N, the number of captions of each image.
            remove_bad_endings: whether ``<end>`` is ruled out after a function word, see ``Search``.

        Raises:
            CaptioningError: a setting is out of its range.
        """
        super().__init__(size, max_length, length_penalty, block_ngrams, n_best, remove_bad_endings)
        require(
            groups >= 1 and size % groups == 0,
            f"search.groups={groups}: {size} beams can't be divided into so many equal groups. Take a number that "
            "divides search.size.",
        )
        require(diversity >= 0, f"search.diversity={diversity}: take 0 or more.")
        self.groups, self.diversity = groups, diversity

    def beams(self, images: int, device: torch.device) -> "DiverseBeams":
        """The beams at the beginning of a search over B images."""
        return DiverseBeams(self, images, device)


class DiverseBeams(Beams):
    """The live beams of all groups, one group behind the other, and each group's best captions.

    Attributes:
        groups: each group's N best captions (or as many as it has beams).
        penalty: ``(B, S)``, the penalties of the beams so far.
    """

    def __init__(self, search: DiverseBeam, images: int, device: torch.device) -> None:
        """Begin with one empty beam for each of B images, from which all groups start."""
        super().__init__(search, images, device)
        self.diversity, self.width = search.diversity, search.size // search.groups
        captions = min(search.n_best, self.width)
        self.groups = [Best(images, captions, device) for _ in range(search.groups)]
        self.penalty = torch.zeros(images, 1, device=device)

    def extend(self, log_probs: Tensor, scores: Tensor, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The best extensions of each group, see ``Beams.extend``."""
        before, taken = self.penalty[rows], torch.zeros_like(log_probs[:, 0])  # (B', S), (B', V)
        chosen: list[tuple[Tensor, Tensor, Tensor]] = []
        penalties: list[Tensor] = []
        for group in range(len(self.groups)):
            own = self._beams_of(group, log_probs.shape[1])
            penalized = log_probs[:, own] - self.diversity * taken.unsqueeze(1)
            values, parents, tokens = best_extensions(penalized, scores[:, own] - before[:, own], self.width)
            said = gather(log_probs[:, own], parents).gather(2, tokens.unsqueeze(2)).squeeze(2)
            penalties.append(gather(before[:, own], parents) + self.diversity * taken.gather(1, tokens))
            chosen.append((gather(scores[:, own], parents) + said, parents + own.start, tokens))
            taken = taken.scatter_add(1, tokens, (values > -torch.inf).float())
        if (width := sum(each.shape[1] for each in penalties)) != self.penalty.shape[1]:
            self.penalty = self.penalty.new_zeros(len(self.penalty), width)
        self.penalty[rows] = torch.cat(penalties, dim=1)
        found, parents, tokens = (torch.cat(parts, dim=1) for parts in zip(*chosen, strict=True))
        return found, parents, tokens

    def hopeless(self, bounds: Tensor, rows: Tensor) -> Tensor:
        """``(B', S)``, True for beams that can't change the best captions of their group or of a later one.

        A beam stays as long as a later group does: its words change what that group says. A group with penalties ends
        as a whole: one of its beams may keep out others that are likelier, and less diverse.
        """
        by_group = bounds.view(len(bounds), len(self.groups), -1)  # (B', G, K)
        below = by_group <= torch.stack([best.worst(rows) for best in self.groups], dim=1)
        later = below.all(dim=2).flip(1).int().cumprod(dim=1).flip(1)[:, 1:].bool()  # this group and all behind it
        later = torch.cat([later, torch.ones_like(below[:, :1, 0])], dim=1)  # all behind this group
        below[:, 1:] = below[:, 1:].all(dim=2, keepdim=True)  # the first group has no penalties
        gone: Tensor = (below & later.unsqueeze(2)).flatten(1)
        return gone

    def offer(self, rows: Tensor, step: int, scores: Tensor, cut: bool = False) -> None:
        """Merge further captions into the best of each group."""
        for group, best in enumerate(self.groups):
            own = torch.full_like(scores, -torch.inf)
            beams = self._beams_of(group, scores.shape[1])
            own[:, beams] = scores[:, beams]
            best.offer(rows, step, own, cut)

    def captions(self, history: History) -> Captions:
        """The N best captions: the groups' best ones first, without repeats."""
        scores, last, slot = (  # (B, ranks·G), rank by rank
            torch.stack([getattr(best, name) for best in self.groups], dim=2).flatten(1)
            for name in ("scores", "last", "slot")
        )
        tokens, parts = history.trace(last, slot)
        there, cut = last >= 0, ~(tokens == END).any(dim=2)
        rank = torch.arange(scores.shape[1], device=scores.device).expand_as(scores) // len(self.groups)
        order = _sorted(scores.argsort(dim=1, descending=True, stable=True), cut, rank)
        tokens, there = gather(tokens, order), gather(there, order)
        repeats = (tokens.unsqueeze(1) == tokens.unsqueeze(2)).all(dim=3).tril(-1).any(dim=2)  # of an earlier one
        scores = gather(scores, order).masked_fill(repeats | ~there, -torch.inf)
        places = _sorted(torch.arange(scores.shape[1], device=scores.device).expand_as(scores), scores == -torch.inf)
        places = places[:, : self.search.n_best]
        by_score = gather(scores, places).argsort(dim=1, descending=True, stable=True)
        found = gather(scores, places)
        places = places.gather(1, _sorted(by_score, gather(gather(cut, order), places), found == -torch.inf))
        found = gather(scores, places)
        tokens = gather(tokens, places).masked_fill((found == -torch.inf).unsqueeze(2), PAD)
        return Captions(tokens, found, **{name: gather(gather(part, order), places) for name, part in parts.items()})

    def _beams_of(self, group: int, beams: int) -> slice:
        """The places of a group's beams; the one beam of the beginning is every group's."""
        width = beams // len(self.groups)
        return slice(group * width, (group + 1) * width) if width else slice(0, 1)


def _sorted(order: Tensor, *keys: Tensor) -> Tensor:
    """An order ``(B, N)``, sorted by keys ``(B, N)`` of the places, the last key first; equal places stay in order."""
    for key in keys:
        order = order.gather(1, key.gather(1, order).int().argsort(dim=1, stable=True))
    return order
