"""Consensus: the caption that agrees best with all captions that beam search finds (minimum Bayes risk).

Kumar and Byrne 2004, "Minimum Bayes-Risk Decoding for Statistical Machine Translation" (NAACL N04-1022), equation 4: of
the captions found, take that of the largest expected similarity to what the decoder may have said instead,
``argmax_c Σ_d p(d) similarity(c, d)``. Mao et al. 2015 (m-RNN, arXiv 1412.6632, section 8) rank captions by their
similarity to those of the nearest training photographs; here the decoder's own captions take their place, so that
nothing is needed but the decoder.

Dimensions: B images, K captions found, N captions returned, T tokens, G different n-grams of an image.
"""

from copy import copy

import torch
from torch import Tensor

from captioning.core.features import Features
from captioning.core.state import gather
from captioning.core.vocabulary import END, PAD
from captioning.search.beam import Beam
from captioning.search.memory import Rarity
from captioning.search.search import Captions, ConditionalModel, require_temperature

ORDERS = 4  # the length of the longest n-grams
SIGMA = 6.0  # words, of the penalty on a difference of lengths
AT_ONCE = 2**22  # numbers of a comparison in memory


class Consensus(Beam):
    """Beam search for ``size`` captions, of which those are returned that are most similar to all, by probability.

    A caption's probability is ``exp(score / temperature)``, normalised over the captions found, with the score of
    ``Beam``. The similarity of two captions is CIDEr-D's (see ``captioning.metrics.cider``) with all n-grams of equal
    weight, 0 to 1. A returned score is the expected similarity. Among equal scores the likelier caption comes first.
    Captions cut at ``max_length`` count only where none has ended, and come last, whatever their scores.
    """

    def __init__(
        self,
        size: int = 20,
        temperature: float = 0.6,
        max_length: int = 20,
        length_penalty: float = 0.6,
        block_ngrams: int = 0,
        n_best: int = 1,
        remove_bad_endings: bool = False,
    ) -> None:
        """Take the settings.

        Args:
            size: K, the number of beams, and of captions that are compared.
            temperature: the divisor of the scores, in nats; a large one gives all captions the same weight.
            max_length: the largest number of tokens of a caption, ``<end>`` included.
            length_penalty: the exponent of the length in the score, see ``Beam``.
            block_ngrams: the length of the word sequences that no caption repeats; 0 allows repeats.
            n_best: N, the number of captions of each image.
            remove_bad_endings: whether ``<end>`` is ruled out after a function word, see ``Search``.

        Raises:
            CaptioningError: a setting is out of its range.
        """
        super().__init__(size, max_length, length_penalty, block_ngrams, n_best, remove_bad_endings)
        require_temperature(temperature)
        self.temperature = temperature

    def search(self, decoder: ConditionalModel, features: Features, attention: bool) -> Captions:
        """Find K captions of each image, and rank them by their expected similarity."""
        every = copy(self)
        every.n_best = self.size
        found = Beam.search(every, decoder, features, attention)
        there = found.scores > -torch.inf  # (B, K)
        ended = (found.tokens == END).any(dim=2)
        voters = there & (ended | ~ended.any(dim=1, keepdim=True))  # captions that were cut vote among themselves alone
        votes = (found.scores / self.temperature).masked_fill(~voters, -torch.inf).softmax(dim=1)
        scores = self.agreement(found.tokens, votes, features).masked_fill(~there, -torch.inf)
        order = scores.argsort(dim=1, descending=True, stable=True)
        order = order.gather(1, (~voters).gather(1, order).int().argsort(dim=1, stable=True))[:, : self.n_best]
        parts = {"attention": found.attention, "sentinel": found.sentinel}
        return Captions(
            gather(found.tokens, order),
            gather(scores, order),
            **{name: None if part is None else gather(part, order) for name, part in parts.items()},
        )

    def agreement(self, tokens: Tensor, votes: Tensor, features: Features) -> Tensor:
        """The expected similarity of each caption to what the decoder may have said instead.

        Args:
            tokens: ``(B, K, T)``, the captions found.
            votes: ``(B, K)``, their probabilities.
            features: the features of the images.

        Returns:
            ``(B, K)``.
        """
        alike = torch.stack([similarities(each) for each in tokens.cpu()]).to(votes.device)
        return (alike * votes.unsqueeze(1)).sum(dim=2)  # no product of matrices: autocast would round it


def similarities(tokens: Tensor, first: int | None = None, rarity: Rarity | None = None) -> Tensor:
    """How similar the captions of an image are to each other, 0 to 1, without their ends.

    The mean over n of 1 to 4 of the clipped cosines of their n-grams' counts, times the penalty on the difference of
    their lengths: Vedantam et al. 2015 (arXiv 1411.5726), section 7, with all weights 1.

    Args:
        tokens: ``(K, T)``, with ``<pad>`` behind the end.
        first: the number of captions that are compared, the first of the K; None for all.
        rarity: the weights of n-grams; None for 1.

    Returns:
        ``(first, K)``: of each caption (row) to each other (column).
    """
    first = len(tokens) if first is None else first
    words = tokens.masked_fill(tokens == END, PAD)
    said = words != PAD
    lengths = said.sum(dim=1)
    cosines = torch.zeros(first, len(tokens))
    weights = None if rarity is None else rarity.of(words)
    grams, beyond = torch.zeros_like(words), int(words.max()) + 1
    for n in range(min(ORDERS, words.shape[1])):
        ends = words[:, n:]
        grams = torch.unique(grams[:, : ends.shape[1]] * beyond + ends, return_inverse=True)[1]
        counts = torch.zeros(len(tokens), int(grams.max()) + 1)  # (K, G)
        counts.scatter_add_(1, grams, said[:, n:].float())
        if weights is not None:
            there = said[:, n:]
            counts *= torch.zeros(counts.shape[1]).index_put((grams[there],), weights[n][there])
        some = torch.split(counts[:first], max(1, AT_ONCE // counts.numel()))
        products = torch.cat([(torch.minimum(rows.unsqueeze(1), counts) * counts).sum(dim=2) for rows in some])
        norms = counts.norm(dim=1)
        cosines += products / (norms[:first].unsqueeze(1) * norms).clamp_min(1e-6)
    differences = (lengths[:first].unsqueeze(1) - lengths).float()
    return cosines / ORDERS * torch.exp(-(differences**2) / (2 * SIGMA**2))
