"""Self-critical training: the policy gradient of the reward of sampled captions.

Rennie et al., "Self-critical Sequence Training for Image Captioning" (CVPR 2017, arXiv 1612.00563), section 3; with
the mean of an image's other samples as the baseline, Luo, "A Better Variant of Self-Critical Sequence Training" (2020,
arXiv 2003.09971).

The gradient of the expected reward is ``E[(r(c) - b) ∇ log p(c)]``. Captions are drawn without a gradient, and the
gradient comes from one reading of all captions under teacher forcing: a cross-entropy with a weight for each word.

Captions are drawn and read in evaluation mode: the distribution is that of the captioner as it is validated and used,
and the estimate is unbiased, as a test shows. Dropout is for the added cross-entropy. With ``dropout`` the reading has
it, too: the estimate is then that of a cross-entropy of those captions that have turned out better than the others.

Dimensions: B images, N samples of an image, T words, M words of a packed batch, O inputs of the output layer, V
vocabulary.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Literal, cast

import numpy as np
import torch
from torch import Tensor, nn

from captioning.core.errors import CaptioningError
from captioning.core.features import Features
from captioning.core.packing import Packing
from captioning.core.sums import Sum
from captioning.core.vocabulary import END, START, CharacterVocabulary, Vocabulary
from captioning.data.batches import Batch
from captioning.decoders import Decoder
from captioning.metrics import CiderReward
from captioning.search import Greedy, Sample
from captioning.search.search import NEVER_SAID
from captioning.training.objectives.cross_entropy import CrossEntropy
from captioning.training.objectives.objective import Objective, Words
from captioning.training.objectives.word_loss import word_loss

SACREEOS = "1.0.0"  # the version of the signature's form


class SelfCritical(Objective):
    """Self-critical training of a captioner that cross-entropy has trained before (``init_from``).

    The decoder's own losses are those of the drawn captions. Hard attention is drawn and read at its expected location,
    as in search.
    """

    def __init__(
        self,
        samples: int = 5,
        baseline: Literal["leave_one_out", "mean", "greedy"] = "leave_one_out",
        cider: float = 1.0,
        bleu: float = 0.0,
        end_is_a_word: bool = True,
        cross_entropy: float = 0.0,
        temperature: float = 1.0,
        max_length: int = 20,
        dropout: bool = False,
        per: Literal["word", "sequence"] = "word",
        label_smoothing: float = 0.0,
        feature_dropout: float = 0.0,
    ) -> None:
        """Take the settings.

        Args:
            samples: N, the number of captions drawn for each image.
            baseline: the reward with which a caption is compared: the mean of the image's other samples, the mean of
                all of them, or the reward of the greedy caption.
            cider: the weight of CIDEr-D in the reward.
            bleu: the weight of the smoothed BLEU-4 in the reward.
            end_is_a_word: whether END counts as a word of captions, references and document frequencies.
            cross_entropy: the weight of the cross-entropy of the batch's own captions, which is added to the loss.
            temperature: the divisor of the logits in sampling, and in the likelihood of the samples.
            max_length: the largest number of tokens of a sample, END included.
            dropout: whether the samples are read with dropout, of the decoder and of the features.
            per: the kind of mean: over all words (Luo), or over captions of the sum over their words (Rennie et al.).
            label_smoothing: the label smoothing of the cross-entropy, see ``CrossEntropy``.
            feature_dropout: the fraction of the features' elements dropped in training, see ``CrossEntropy``.

        Raises:
            CaptioningError: a setting is out of its range.
        """
        super().__init__()
        for name, weight in (("cider", cider), ("bleu", bleu), ("cross_entropy", cross_entropy)):
            if weight < 0:
                raise CaptioningError(f"objective.{name}={weight}: a weight is 0 or more.")
        if not cider and not bleu:
            raise CaptioningError("objective.cider=0 objective.bleu=0: nothing is rewarded. Give one of them a weight.")
        least = 1 if baseline == "greedy" else 2
        if samples < least:
            raise CaptioningError(
                f"objective.samples={samples}: baseline={baseline} needs {least} or more samples of each photograph."
            )
        if temperature <= 0 or max_length < 1:
            raise CaptioningError(
                f"objective.temperature={temperature}, objective.max_length={max_length}: take a temperature above 0 "
                "and a length of 1 or more."
            )
        self.samples, self.baseline, self.temperature, self.per = samples, baseline, temperature, per
        self.reads_with_dropout = dropout
        self.cider, self.bleu, self.end_is_a_word = cider, bleu, end_is_a_word
        self.cross_entropy = cross_entropy
        self.words = CrossEntropy(label_smoothing, per, feature_dropout)
        self.sample = Sample(max_length, temperature, samples=samples)
        self.greedy = Greedy(max_length)

    def begin(self, vocabulary: Vocabulary | CharacterVocabulary, references: Sequence[Sequence[str]]) -> None:
        """Count the n-grams of the training split's captions, once.

        Raises:
            CaptioningError: the task is no captioning.
        """
        if not isinstance(vocabulary, Vocabulary) or not references:
            raise CaptioningError(
                "objective=self_critical rewards the captions of photographs, and there are none here. "
                "Take objective=cross_entropy."
            )
        self.vocabulary = vocabulary
        self.reward = CiderReward(
            references,
            cider=self.cider,
            bleu=self.bleu,
            end_is_a_word=self.end_is_a_word,
            tokenizer=self.tokenizer,
        )
        base = "greedy" if self.baseline == "greedy" else "average"
        self.signature = f"{self.reward.signature}+{base}[nspi{self.samples}]+{SACREEOS}"

    def forward(self, decoder: Decoder, features: Features, batch: Words, step: int) -> dict[str, Sum]:
        """The loss of drawn captions, their reward, the decoder's own losses, and the cross-entropy if it has a weight.

        Args:
            decoder: the trained model, in training mode.
            features: the features of the batch's B photographs.
            batch: a batch of ``captioning.data.batches``, with the photographs' indices.
            step: the optimizer's step, from 0.
        """
        photos = cast(Batch, batch).photos
        tokens, greedy = self.draw(decoder, features)
        rewards = self.rewards_of(tokens, photos)
        compared = None if greedy is None else self.rewards_of(greedy, photos)
        weights = advantages(rewards, self.baseline, compared).unsqueeze(-1).expand_as(tokens)

        packing = Packing.of(tokens)
        words = torch.cat([torch.full_like(tokens[..., :1], START), tokens[..., :-1]], dim=-1)
        targets, weights = packing.pack(tokens), packing.pack(weights)
        with nullcontext() if self.reads_with_dropout else evaluating(decoder):
            given = features.map(self.words.dropout) if decoder.training else features
            outputs = decoder.teacher_force(given, packing.pack(words), packing)
            logits = partial(logits_of_samples, decoder, self.temperature)
            total, log_likelihood = word_loss(decoder, outputs.hidden, targets, weights, logits=logits)
            own = decoder.losses(outputs, given, packing, weights * log_likelihood)
        return {
            "self_critical": Sum(total, len(targets) if self.per == "word" else len(packing.captions)),
            "reward": Sum(rewards.sum(), rewards.numel(), trained=False),
            **own,
            **self.sums_of_captions(decoder, features, batch, step),
        }

    @torch.no_grad()
    def draw(self, decoder: Decoder, features: Features) -> tuple[Tensor, Tensor | None]:
        """Draw captions in evaluation mode.

        Returns:
            The tokens ``(B, N, T)`` of the samples, END included, then ``<pad>``; and those of the greedy captions
            ``(B, 1, T')`` if the baseline is theirs.
        """
        with evaluating(decoder):
            tokens = self.sample(decoder, features).tokens
            return tokens, self.greedy(decoder, features).tokens if self.baseline == "greedy" else None

    def rewards_of(self, tokens: Tensor, photos: Tensor) -> Tensor:
        """The rewards ``(B, N)`` of captions ``(B, N, T)`` of photographs ``(B,)``; a cut caption has no END."""
        captions = tokens.flatten(0, 1).tolist()
        rewards = self.reward(
            [self.vocabulary.decode(caption) for caption in captions],
            photos.repeat_interleave(tokens.shape[1]).cpu().numpy(),
            [END in caption for caption in captions],
        )
        return torch.from_numpy(rewards.astype(np.float32)).to(tokens.device).view(tokens.shape[:2])

    def sums_of_captions(self, decoder: Decoder, features: Features, batch: Words, step: int) -> dict[str, Sum]:
        """The weighted cross-entropy of the batch's own captions, and their log-likelihood; nothing at weight 0."""
        if not self.cross_entropy:
            return {}
        sums = self.words(decoder, features, batch, step)
        loss = sums["cross_entropy"]
        return {"cross_entropy": Sum(self.cross_entropy * loss.total, loss.count), "nll": sums["nll"]}


def advantages(rewards: Tensor, baseline: str, greedy: Tensor | None = None) -> Tensor:
    """The rewards of samples, less their baseline.

    Args:
        rewards: ``(B, N)``.
        baseline: see ``SelfCritical``.
        greedy: ``(B, 1)``, the rewards of the greedy captions, if they are the baseline.

    Returns:
        ``(B, N)``.
    """
    if greedy is not None:
        return rewards - greedy
    N, total = rewards.shape[1], rewards.sum(dim=1, keepdim=True)
    return rewards - (total / N if baseline == "mean" else (total - rewards) / (N - 1))


def logits_of_samples(decoder: Decoder, temperature: float, hidden: Tensor) -> Tensor:
    """The logits ``(…, V)`` of the distribution that samples are drawn from, ``-inf`` for words that are never said."""
    never = torch.tensor(NEVER_SAID, device=hidden.device)
    return (decoder.logits(hidden) / temperature).index_fill(-1, never, -torch.inf)


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Put a module in evaluation mode during the block, and then each part in the mode that it had."""
    modes = {part: part.training for part in module.modules()}
    module.eval()
    try:
        yield
    finally:
        for part, mode in modes.items():
            part.training = mode
