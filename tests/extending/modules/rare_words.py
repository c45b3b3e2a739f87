"""An objective: cross-entropy in which rare words count more, for captions that say more than "a man in a shirt".

captioning train objective._target_=rare_words.RareWords +objective.power=0.3
"""

from collections import Counter

import torch

from captioning.core.sums import Sum
from captioning.text.tokenizer import tokenize
from captioning.training.objectives import Objective, word_loss


class RareWords(Objective):
    """A word of count n weighs ``n ** -power``, scaled so that the most frequent word weighs 1."""

    def __init__(self, power: float = 0.3) -> None:
        """Take the exponent; 0 is cross-entropy."""
        super().__init__()
        self.power = power

    def begin(self, vocabulary, references) -> None:
        """Count the words of the training captions."""
        counts = Counter(word for captions in references for caption in captions for word in tokenize(caption))
        numbers = torch.tensor([float(max(counts[word], 1)) for word in vocabulary.words])
        self.register_buffer("weights", (numbers / numbers.max()) ** -self.power)

    def forward(self, decoder, features, batch, step: int) -> dict[str, Sum]:
        """The weighted sum over the words; beside it the plain log-likelihood."""
        outputs = decoder.teacher_force(features, batch.words, batch.packing)
        total, log_likelihood = word_loss(decoder, outputs.hidden, batch.targets, self.weights[batch.targets])
        words = len(batch.targets)
        return {"rare words": Sum(total, words), "nll": Sum(-log_likelihood.sum(), words, trained=False)}
