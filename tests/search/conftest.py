"""A decoder small enough to search by hand."""

import math
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from captioning.core.features import Features
from captioning.core.state import State
from captioning.core.vocabulary import START


class ToyDecoder:
    """Its next word depends on the photograph and on all words so far, through a number that hashes both.

    The number picks a row of a table of logits, so that a wrongly reordered state, or a wrong word taken in, changes
    everything after it. The attention weights are the number's digits: they tell the history that they belong to.
    """

    numbers = 997

    def __init__(self, words: int, seed: int = 0, levels: int = 0, end_bias: float = 0.0) -> None:
        """Draw the table.

        Args:
            words: how many words can be said, END included.
            seed: of the table.
            levels: where not 0, logits take that many different values alone, so that ties abound.
            end_bias: added to END's logit.
        """
        generator = torch.Generator().manual_seed(seed)
        self.table = torch.randn(self.numbers, words + 3, generator=generator) * 2
        if levels:
            self.table = torch.randint(levels, self.table.shape, generator=generator).float()
        self.table[:, 2] += end_bias
        self.log_probs = self.table.log_softmax(-1)
        self.rows_computed = 0

    def start(self, features: Features) -> State:
        image = features["pooled"][:, 0].long()
        return State({"image": image}, {"number": image.unsqueeze(1)})

    def step(self, tokens: Tensor, state: State) -> tuple[Tensor, State]:
        number = self.hash(state.sequence["number"], tokens, state.image["image"].unsqueeze(1))
        self.rows_computed += number.numel()
        weights = torch.stack([number // 100, number // 10 % 10, number % 10], dim=-1).float()
        return self.table[number], State(state.image, {"number": number, "attention": weights})

    def hash(self, number, token, image):  # numbers or tensors alike
        return (number * 31 + token * 17 + image * 5 + 7) % self.numbers

    def walk(self, image: int, tokens: Sequence[int]) -> tuple[list[float], list[list[float]]]:
        """The log-probability and the attention of each token of one caption, word by word."""
        number, previous, log_probs, attention = image, START, [], []
        for token in tokens:
            number = self.hash(number, previous, image)
            log_probs.append(self.log_probs[number, token].item())
            attention.append([float(number // 100), float(number // 10 % 10), float(number % 10)])
            previous = token
        return log_probs, attention

    def score(self, image: int, tokens: Sequence[int]) -> float:
        return math.fsum(self.walk(image, tokens)[0])

    @staticmethod
    def photographs(*images: int) -> Features:
        return Features(pooled=torch.tensor(images, dtype=torch.float32).unsqueeze(1))


@pytest.fixture(scope="session")
def toy() -> type[ToyDecoder]:
    return ToyDecoder
