"""The negative log-likelihood of the words (Vinyals et al. 2015, arXiv 1411.4555, equation 12)."""

from collections.abc import Callable
from typing import Literal

from torch import nn

from captioning.core.errors import CaptioningError
from captioning.core.features import Features
from captioning.core.sums import Sum
from captioning.decoders import Decoder
from captioning.training.objectives.objective import Objective, Words
from captioning.training.objectives.word_loss import word_loss
from captioning.training.scheduled_sampling import never


class CrossEntropy(Objective):
    """Cross-entropy under teacher forcing: each word of a caption is predicted from the words before."""

    def __init__(
        self,
        label_smoothing: float = 0.0,
        per: Literal["word", "sequence"] = "word",
        feature_dropout: float = 0.0,
        scheduled_sampling: Callable[[int], float] = never,
    ) -> None:
        """Take the settings.

        Args:
            label_smoothing: the fraction of the target's probability spread evenly over the vocabulary (Szegedy et al.
                2016, arXiv 1512.00567, section 7).
            per: the kind of mean: over all words, or over sequences (captions, streams of a text) of the sum over their
                words.
            feature_dropout: the fraction of the features' elements dropped in training.
            scheduled_sampling: a function from the step to the probability that the model's own word replaces the
                caption's as input (Bengio et al. 2015, arXiv 1506.03099).

        Raises:
            CaptioningError: a fraction, or a number of the schedule, is out of range.
        """
        super().__init__()
        for name, share in (("label_smoothing", label_smoothing), ("feature_dropout", feature_dropout)):
            if not 0 <= share <= 1:
                raise CaptioningError(f"objective.{name}={share}: take a share from 0 to 1.")
        scheduled_sampling(0)  # a number out of its range is found before training
        self.label_smoothing, self.per = label_smoothing, per
        self.scheduled_sampling, self.dropout = scheduled_sampling, nn.Dropout(feature_dropout)

    def forward(self, decoder: Decoder, features: Features, batch: Words, step: int) -> dict[str, Sum]:
        """The loss of the words, their log-likelihood, and the decoder's additional losses."""
        features = features.map(self.dropout) if decoder.training else features
        own_words = self.scheduled_sampling(step)
        if own_words > 0:
            outputs = decoder.teacher_force_by_steps(features, batch.words, batch.packing, own_words)
        else:
            outputs = decoder.teacher_force(features, batch.words, batch.packing)
        total, log_likelihood = word_loss(decoder, outputs.hidden, batch.targets, label_smoothing=self.label_smoothing)
        words = len(batch.targets)
        count = words if self.per == "word" else len(batch.packing.captions)
        return {
            "cross_entropy": Sum(total, count),
            "nll": Sum(-log_likelihood.sum(), words, trained=False),
            **decoder.losses(outputs, features, batch.packing, log_likelihood),
        }
