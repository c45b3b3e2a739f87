"""The next-word distributions along captions: what a captioner might have said instead, at each word.

Dimensions: S captions of an image, T words, V vocabulary.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from captioning.core.features import Features
from captioning.core.vocabulary import PAD, Vocabulary


@dataclass(frozen=True)
class Explained:
    """A caption, word by word.

    Attributes:
        log_probability: the log-probability of the whole caption, ``<end>`` included, in nats.
        probabilities: the probability of each of the T words after the words before it, and of the end after them.
        likeliest: for each of these T + 1 places the likeliest next words with their probabilities, likeliest first;
            the end of the caption is ``<end>``.
    """

    log_probability: float
    probabilities: list[float]
    likeliest: list[list[tuple[str, float]]]


@torch.inference_mode()
def explain(
    decoder: Any, vocabulary: Vocabulary, features: Features, captions: Sequence[str], count: int = 8
) -> list[Explained]:
    """Feed captions of one image to a decoder, and read the next-word distribution before each word.

    Args:
        decoder: the decoder, or an ensemble of several.
        vocabulary: its vocabulary.
        features: the features of one image.
        captions: S captions, of words of the vocabulary.
        count: the number of likeliest words.
    """
    encoded = [vocabulary.encode(caption.split()) for caption in captions]  # <start> w1 … wT <end>
    longest = max(map(len, encoded))
    tokens = torch.full((1, len(encoded), longest), PAD)
    for row, numbers in zip(tokens[0], encoded, strict=True):
        row[: len(numbers)] = torch.tensor(numbers)
    tokens = tokens.to(features.device)
    state = decoder.start(features).reorder(tokens.new_zeros(1, len(encoded)))
    steps: list[Tensor] = []
    for place in range(longest - 1):
        logits, state = decoder.step(tokens[..., place], state)
        steps.append(logits[0].log_softmax(-1, dtype=torch.float32).cpu())  # (S, V)
    found = []
    for number, numbers in enumerate(encoded):
        said = [float(steps[place][number, word]) for place, word in enumerate(numbers[1:])]
        places = [steps[place][number].topk(min(count, len(vocabulary))) for place in range(len(numbers) - 1)]
        likeliest = [
            [(vocabulary.words[word], math.exp(value)) for value, word in zip(*map(Tensor.tolist, top), strict=True)]
            for top in places
        ]
        found.append(Explained(sum(said), [math.exp(each) for each in said], likeliest))
    return found
