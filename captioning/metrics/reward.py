"""The reward of self-critical training: CIDEr-D, also mixed with BLEU-4, of any number of captions of each photograph.

Rennie et al., "Self-critical Sequence Training for Image Captioning" (CVPR 2017, arXiv 1612.00563); by the
appendix, END must be a word: otherwise a caption that stops after "with a" loses nothing. Hu et al.,
"A request for clarity over the End of Sequence token in the Self-Critical Sequence Training" (SacreEOS, arXiv
2305.12254), measure the difference, and ask for a signature of the settings beside the scores.

Dimensions: N photographs, C captions.
"""

from collections.abc import Sequence

import numpy as np

from captioning.metrics.bleu import count_matches, smoothed_bleu
from captioning.metrics.cider import SIGMA, CiderD
from captioning.metrics.frequencies import DocumentFrequencies
from captioning.metrics.ngrams import ORDERS, Floats, count_ngrams
from captioning.metrics.references import References
from captioning.text.registry import Tokenizer
from captioning.text.token_numbers import Integers
from captioning.text.tokenizer import tokenize_each

END = "<END>"  # no token of a text: tokens have no capitals


class CiderReward:
    """Weighted CIDEr-D and BLEU-4 of captions; the references' n-grams are counted and weighted once.

    Attributes:
        references: the references of the N photographs, each with END as its last word if ``end_is_a_word`` is set.
        signature: the settings in SacreEOS's form, see ``signature_of``.
    """

    def __init__(
        self,
        references: Sequence[Sequence[str]],
        *,
        cider: float = 1.0,
        bleu: float = 0.0,
        end_is_a_word: bool = True,
        frequencies: DocumentFrequencies | None = None,
        tokenizer: Tokenizer = tokenize_each,
    ) -> None:
        """Count the references' n-grams.

        Args:
            references: one or more references of each photograph, as written; in training, of the whole training split.
            cider: the weight of CIDEr-D (0 to 10).
            bleu: the weight of the smoothed BLEU-4 (0 to 1).
            end_is_a_word: whether the end of a caption counts as its last word, in references, document frequencies
                and captions.
            frequencies: fixed document frequencies; by default those of ``references``.
            tokenizer: the tokenizer of references and captions; by default that of the metrics.

        Raises:
            CaptioningError: there is no photograph, or a photograph has no reference.
        """
        self.cider, self.bleu, self.end_is_a_word, self._tokenizer = cider, bleu, end_is_a_word, tokenizer
        self.signature = signature_of(cider, bleu, end_is_a_word)
        self.references = References(references, self._tokens)
        self._cider = CiderD(self.references, frequencies)

    def __call__(
        self, captions: Sequence[str], photos: Sequence[int] | Integers, ended: Sequence[bool] | None = None
    ) -> Floats:
        """The rewards of captions.

        Args:
            captions: C captions as text, without END.
            photos: ``(C,)``, the index of each caption's photograph among the references.
            ended: ``(C,)``, False for a caption cut at the maximum length, which has no END; by default all have ended.

        Returns:
            ``(C,)``.
        """
        images = np.asarray(photos, dtype=np.int64)
        counts = count_ngrams(self._tokens(captions, ended), self.references.ngrams.counts.index)
        match = self.references.ngrams.match(counts, images)
        rewards: Floats = np.zeros(len(captions))
        if self.cider:
            rewards += self.cider * self._cider.of(counts, images, match)
        if self.bleu:
            rewards += self.bleu * smoothed_bleu(count_matches(counts, match, self.references, images))
        return rewards

    def _tokens(self, captions: Sequence[str], ended: Sequence[bool] | None = None) -> list[list[str]]:
        tokens = self._tokenizer(captions)
        if not self.end_is_a_word:
            return tokens
        ends = [True] * len(tokens) if ended is None else ended
        return [[*words, END] if end else words for words, end in zip(tokens, ends, strict=True)]


def signature_of(cider: float, bleu: float, end_is_a_word: bool) -> str:
    """The reward's part of SacreEOS's signature, such as ``STANDARD_wInit+Cider-D[n4,s6.0]``.

    ``STANDARD``: END is a word of captions and references, ``NO<EOS>``: END is none; ``wInit``: the same holds for the
    document frequencies. SacreEOS knows one metric; weights and a second metric are written in the same manner.
    """
    metrics = {f"Cider-D[n{ORDERS},s{SIGMA}]": cider, f"BLEU[n{ORDERS},smoothed]": bleu}
    weighted = [name if weight == 1 else f"{weight:g}*{name}" for name, weight in metrics.items() if weight]
    return f"{'STANDARD' if end_is_a_word else 'NO<EOS>'}_wInit+{'&'.join(weighted)}"
