"""Neighbours: the caption that agrees best with those of similar training photographs, and with the other captions.

Mao et al. 2015 (m-RNN, arXiv 1412.6632, section 8, "consensus reranking") rank captions by their similarity to the
captions of the nearest training photographs, after Devlin et al. 2015 (arXiv 1505.04467), who take one of these.
Here the captions that the decoder may have said instead count, too, as in ``Consensus``.

Dimensions: B images, K captions found, R captions of the nearest photographs, T tokens, P features.
"""

import os
from collections.abc import Callable
from typing import Self

import torch
from torch import Tensor

from captioning.core.errors import CaptioningError
from captioning.core.features import Features
from captioning.core.vocabulary import PAD, Vocabulary
from captioning.search.consensus import ORDERS, Consensus, similarities
from captioning.search.memory import Memory, Rarity
from captioning.search.search import TEMPERATURES, require


class Neighbours(Consensus):
    """Beam search for ``size`` captions, ranked by their similarity to captions of the nearest training photographs.

    ::

        score(c) = (1 - share) Σ_d p(d) similarity(c, d) + share Σ_r q(r) similarity(c, r)

    with the captions d found and their probabilities p, see ``Consensus``, and the captions r of the ``nearest``
    photographs of the memory: q is the softmax over these photographs of the cosine of their features with the image's,
    divided by ``sharpness``, in equal parts to the captions of a photograph. The similarity is CIDEr-D's, 0 to 1, with
    the document frequencies of the memory. A photograph that is in the memory itself is not left out.
    """

    untold = ("memory",)

    def __init__(
        self,
        memory: str | os.PathLike[str] | Memory | None = None,
        size: int = 20,
        nearest: int = 10,
        share: float = 0.8,
        sharpness: float = 0.1,
        temperature: float = 0.6,
        max_length: int = 20,
        length_penalty: float = 0.6,
        block_ngrams: int = 0,
        n_best: int = 1,
        remove_bad_endings: bool = False,
    ) -> None:
        """Take the settings.

        Args:
            memory: the training photographs, or the path of the file that ``captioning memory`` writes; it must be
                known when the search begins.
            size: K, the number of beams, and of captions that are ranked.
            nearest: the number of training photographs whose captions count.
            share: the weight of these captions, 0 (none: a consensus) to 1 (they alone).
            sharpness: the divisor of the cosines; a large one gives all nearest photographs the same weight.
            temperature: see ``Consensus``.
            max_length: see ``Consensus``.
            length_penalty: see ``Consensus``.
            block_ngrams: see ``Consensus``.
            n_best: see ``Consensus``.
            remove_bad_endings: see ``Consensus``.

        Raises:
            CaptioningError: a setting is out of its range; the file can't be read.
        """
        super().__init__(size, temperature, max_length, length_penalty, block_ngrams, n_best, remove_bad_endings)
        require(nearest >= 1, f"search.nearest={nearest}: take 1 photograph or more.")
        require(0 <= share <= 1, f"search.share={share}: a share is 0 to 1.")
        least, most = TEMPERATURES
        require(least <= sharpness <= most, f"search.sharpness={sharpness}: take one from {least:g} to {most:g}.")
        self.memory = memory
        self._remembered = memory if isinstance(memory, Memory) or memory is None else Memory.read(memory)
        self.nearest, self.share, self.sharpness = nearest, share, sharpness
        self._numbered: tuple[Vocabulary, Tensor, Tensor, Rarity] | None = None
        self._checked: object = None  # the encoder whose fingerprint was compared last

    @property
    def remembered(self) -> Memory:
        """The training photographs.

        Raises:
            CaptioningError: there are none.
        """
        if self._remembered is None:
            raise CaptioningError(
                "search.memory: search=neighbours needs the file that captioning memory RUN writes "
                "(search.memory=runs/x/memory.pt)."
            )
        return self._remembered

    def for_vocabulary(self, vocabulary: Vocabulary) -> Self:
        """The same search, with the memory's captions in the numbers of a vocabulary.

        Raises:
            CaptioningError: there is no memory.
        """
        if self._numbered is None or self._numbered[0] is not vocabulary:
            words, photos = self.remembered.numbered(vocabulary)
            self._numbered = vocabulary, words, photos, Rarity(words, photos, ORDERS)
        return super().for_vocabulary(vocabulary)

    def require_encoder(self, fingerprint: Callable[[], str]) -> None:
        """See ``Search.require_encoder``.

        Raises:
            CaptioningError: the memory has the features of another encoder.
        """
        if fingerprint == self._checked:
            return
        if fingerprint() != self.remembered.encoder:
            raise CaptioningError(
                "search.memory: this memory has the features of another encoder. Make one with captioning memory, of "
                "the same captioners."
            )
        self._checked = fingerprint

    def agreement(self, tokens: Tensor, votes: Tensor, features: Features) -> Tensor:
        """See ``Consensus.agreement``."""
        if self._numbered is None:
            raise CaptioningError("search.memory needs the numbers of words: call search.for_vocabulary(vocabulary).")
        part, size = self.remembered.part, self.remembered.features.shape[1]
        images = features.mean(part) if part in features else None
        if images is None or images.shape[1] != size:
            raise CaptioningError(
                f"search.memory: this memory has {size} numbers of {part!r} of a photograph, and the features have "
                f"{'no such part' if images is None else images.shape[1]}. Make one with captioning memory."
            )
        _, words, photos, rarity = self._numbered
        cosines, nearest = self.remembered.nearest(images, self.nearest)
        weights = (cosines / self.sharpness).softmax(dim=1)
        first, last = (torch.searchsorted(photos, nearest, right=right) for right in (False, True))
        scores = []
        for image, found in enumerate(tokens.cpu()):
            bounds = list(zip(first[image].tolist(), last[image].tolist(), strict=True))
            rows = torch.cat([torch.arange(*each) for each in bounds])
            share = torch.cat([weights[image, n].expand(b - a) / (b - a) for n, (a, b) in enumerate(bounds)])
            alike = similarities(_stacked(found, words[rows]), len(found), rarity)
            ours, theirs = alike[:, : len(found)], alike[:, len(found) :]
            own = (ours * votes[image].cpu()).sum(dim=1)
            scores.append((1 - self.share) * own + self.share * (theirs * share).sum(dim=1))
        return torch.stack(scores).to(votes.device)


def _stacked(found: Tensor, others: Tensor) -> Tensor:
    """Captions ``(K, T)`` above others ``(R, T')``, with ``<pad>`` behind the shorter ones."""
    others = others[:, : max(1, int((others != PAD).sum(1).max()))]
    longest = max(found.shape[1], others.shape[1])
    padded = [torch.nn.functional.pad(each, (0, longest - each.shape[1]), value=PAD) for each in (found, others)]
    return torch.cat(padded)
