"""Untrained captioners for the page, and pictures."""

from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image

from captioning.core.vocabulary import END, SPECIAL, Vocabulary
from captioning.jobs.config import compose
from captioning.predict.captioner import Captioner
from captioning.runs import parts

WORDS = ("a", "red", "ball", "box", "star", "on", "the", "grass")
SMALL = ("encoder.last_stage=layer1", "search=beam", "search.size=4", "search.max_length=6")
PLACES = ("data.root=nowhere",)


def untrained(settings: list[str], *overrides: str, seed: int = 0) -> Captioner:
    """A captioner that babbles, and says something else of each picture."""
    line = [each for each in settings if not each.startswith(("search", "data.root"))]
    config, vocabulary = compose([*line, *SMALL, *PLACES, *overrides]), Vocabulary([*SPECIAL, *WORDS])
    torch.manual_seed(seed)
    encoder = parts.make_encoder(config)
    decoder = parts.make_decoder(config, vocabulary, encoder.spec)
    with torch.no_grad():
        for name, parameter in decoder.named_parameters():
            if parameter.dim() < 2:
                parameter.zero_()
            else:  # opinions that depend on the picture
                parameter.normal_(0, 10 if name.startswith(("initial.", "Lz.")) else 2)
        decoder.word_layer.bias[END] = 1.0
    return Captioner(encoder, decoder, vocabulary, config)


def picture(number: int, size: tuple[int, int] = (48, 40)) -> Image.Image:
    """A picture of its number."""
    rng = np.random.default_rng(number)
    low = (rng.random((4, 4, 3)) * rng.random(3) * 255).astype(np.uint8)
    return Image.fromarray(low).resize(size, Image.Resampling.BICUBIC)


@dataclass
class Served:
    """A server that runs.

    Attributes:
        address: its address.
        captioners: the captioners behind it, by name.
    """

    address: str
    captioners: dict[str, Captioner]
