"""Endless text from a language model, character by character.

Dimensions: V vocabulary.
"""

from collections.abc import Iterator, Sequence

import torch

from captioning.core.features import Features
from captioning.search.rollout import Rollout
from captioning.search.search import ConditionalModel


def write(
    decoder: ConditionalModel, prime: Sequence[int], search: Rollout, device: torch.device | str = "cpu"
) -> Iterator[int]:
    """Continue a text, one character after the other; no character is special, and none ends the text.

    Args:
        decoder: a language model in evaluation mode.
        prime: the numbers of the characters of the text to continue, one at least.
        search: the choice of the next character: ``Sample`` draws it, ``Greedy`` takes the likeliest.
        device: the decoder's device.
    """
    with torch.inference_mode():
        state = decoder.start(Features.none(1, device))
        for number in prime:
            logits, state = decoder.step(torch.tensor([[number]], device=device), state)
    while True:
        with torch.inference_mode():  # not around the loop: inference mode would stay on in the caller's code
            tokens = search.choose(logits.log_softmax(-1, dtype=torch.float32))  # (1, 1)
            logits, state = decoder.step(tokens, state)
        yield int(tokens)
