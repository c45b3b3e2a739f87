"""Untrained captioners that babble."""

from collections.abc import Callable, Sequence

import pytest
import torch

from captioning.core.vocabulary import END, SPECIAL, Vocabulary
from captioning.jobs.config import compose
from captioning.predict.captioner import Captioner
from captioning.runs import parts

WORDS = ("a", "red", "ball", "box", "star", "on", "the", "grass")
ATTENDS = ("decoder=show_attend_tell", "decoder.attention_size=8")
Make = Callable[..., Captioner]


@pytest.fixture
def make(tiny: Callable[..., list[str]]) -> Make:
    """``make("decoder=show_tell", seed=1)``: a captioner whose captions rarely end."""

    def captioner(*overrides: str, seed: int = 0, words: Sequence[str] = WORDS) -> Captioner:
        config, vocabulary = compose(tiny("encoder.last_stage=layer1", *overrides)), Vocabulary([*SPECIAL, *words])
        torch.manual_seed(100)
        encoder = parts.make_encoder(config)  # the same weights in all
        torch.manual_seed(seed)
        decoder = parts.make_decoder(config, vocabulary, encoder.spec)
        with torch.no_grad():
            decoder.word_layer.weight.mul_(8)  # opinions, not a uniform distribution
            decoder.word_layer.bias[END] = -2.0
        return Captioner(encoder, decoder, vocabulary, config)

    return captioner
