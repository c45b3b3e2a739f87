"""Text without an end, character by character, from a language model.

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
    """Go on with a text, one character after the other; nothing is special, and nothing ends it.

    Args:
        decoder: a language model in evaluation mode.
        prime: the numbers of the text to go on with, one at least.
        search: how the next character is chosen: ``Sample`` draws it, ``Greedy`` takes the likeliest.
        device: where the decoder is.
    """
    with torch.inference_mode():
        state = decoder.start(Features.none(1, device))
        for number in prime:
            logits, state = decoder.step(torch.tensor([[number]], device=device), state)
    while True:
        with torch.inference_mode():  # not around the loop: it would stay on in what the caller does meanwhile
            tokens = search.choose(logits.log_softmax(-1, dtype=torch.float32))  # (1, 1)
            logits, state = decoder.step(tokens, state)
        yield int(tokens)
