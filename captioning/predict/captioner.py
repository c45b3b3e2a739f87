"""Captions from Python: ``Captioner.load("runs/flickr8k")(["photo.jpg"])``.

Dimensions: B images, T words, L regions.
"""

import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from captioning.core.device import find_device
from captioning.core.errors import CaptioningError
from captioning.core.features import Features
from captioning.core.images import read_image, stack, to_rgb
from captioning.core.terminal import printable
from captioning.core.vocabulary import END, Vocabulary
from captioning.decoders import Decoder
from captioning.encoders import Encoder
from captioning.runs.checkpoint import make_with_weights, read_checkpoint
from captioning.runs.parts import make_decoder, make_encoder, make_search
from captioning.search import Captions, Search

Picture = str | os.PathLike[str] | Image.Image


@dataclass(frozen=True)
class Caption:
    """One caption of one picture.

    Attributes:
        text: the words, separated by blanks.
        score: the log-probability that it was ranked by, in nats (see ``captioning.search``).
        attention: ``(T, rows, columns)``, where the decoder looked when it said each of the T words; None where not
            asked for, or where the decoder has no attention.
    """

    text: str
    score: float
    attention: "np.ndarray[tuple[int, int, int], np.dtype[np.float32]] | None" = None


class Captioner:
    """An encoder and a decoder, trained, with their vocabulary."""

    def __init__(self, encoder: Encoder, decoder: Decoder, vocabulary: Vocabulary, config: Mapping[str, Any]) -> None:
        """Take the parts; they are put in evaluation mode."""
        self.encoder, self.decoder = encoder.eval(), decoder.eval()
        self.vocabulary, self.config = vocabulary, config

    @classmethod
    def load(cls, path: str | os.PathLike[str], device: str = "auto", trust: Collection[str] = ()) -> "Captioner":
        """Read a checkpoint; it may be a stranger's, for nothing that it holds or names is run (docs/security.md).

        Args:
            path: a ``.ckpt`` file, or a run's folder (its best checkpoint).
            device: where to run; ``"auto"``: the GPU where there is one.
            trust: modules or classes outside of this package that it may name: these are imported.

        Raises:
            CaptioningError: there is no such checkpoint, it is of a language model, it names a class that is not
                trusted, or it does not fit this version of the code.
        """
        checkpoint = read_checkpoint(Path(path), trust)
        config, vocabulary = checkpoint.config, checkpoint.words

        def make() -> torch.nn.Module:
            encoder = make_encoder({**config, "encoder": {**config["encoder"], "weights": None}})
            decoder = make_decoder(config, vocabulary, encoder.spec)
            return torch.nn.ModuleDict({"encoder": encoder, "decoder": decoder})

        try:
            make_search(config)  # what it does not take is said now, and with the file's name
        except CaptioningError as error:
            raise CaptioningError(f"{checkpoint.path}: {printable(str(error))}") from error
        parts: Any = make_with_weights(make, checkpoint).to(find_device(device))
        return cls(parts["encoder"], parts["decoder"], vocabulary, config)

    @property
    def device(self) -> torch.device:
        """Where it runs."""
        return next(self.decoder.parameters()).device

    def __call__(
        self, pictures: Picture | Iterable[Picture], search: Search | None = None, batch_size: int = 16
    ) -> list[str]:
        """The caption of each picture.

        Args:
            pictures: paths or PIL pictures of any mode and size, or a single one.
            search: the one that it was trained with where not given.
            batch_size: pictures at a time.

        Raises:
            CaptioningError: a picture can't be read.
        """
        return [caption.text for caption in self.caption(pictures, search, batch_size)]

    def caption(
        self,
        pictures: Picture | Iterable[Picture],
        search: Search | None = None,
        batch_size: int = 16,
        attention: bool = False,
    ) -> Iterator[Caption]:
        """Like calling it, one by one as they come, with scores and, if asked for, attention maps.

        Raises:
            CaptioningError: a picture can't be read; attention was asked for and the decoder has none; ``batch_size``
                is below 1.
        """
        if batch_size < 1:
            raise CaptioningError(f"A batch of {batch_size} pictures: take 1 or more at a time.")
        search = search or make_search(self.config)  # once: a seeded one draws other numbers for every batch
        if isinstance(pictures, (str, os.PathLike, Image.Image)):
            pictures = [pictures]
        for images in self._images(iter(pictures), batch_size):
            with torch.inference_mode():
                features: Features = self.encoder(images.to(self.device))
            for caption in self.describe(features, search, attention):
                if attention and caption.attention is None:
                    raise CaptioningError(
                        f"{type(self.decoder).__name__} has no attention to show. "
                        "Use a checkpoint of decoder=show_attend_tell."
                    )
                yield caption

    def _images(self, pictures: Iterator[Picture], batch_size: int) -> Iterator[Tensor]:
        """Batches for the encoder; while one is captioned, a thread decodes and resizes the next."""

        def read() -> list[Tensor]:
            batch = islice(pictures, batch_size)
            return [self.encoder.transform(to_rgb(p) if isinstance(p, Image.Image) else read_image(p)) for p in batch]

        with ThreadPoolExecutor(max_workers=1, thread_name_prefix="pictures") as reader:
            images = reader.submit(read).result()
            while images:
                following = reader.submit(read)
                yield stack(images)
                images = following.result()

    def describe(self, features: Features, search: Search | None = None, attention: bool = False) -> Iterator[Caption]:
        """The best caption of each of B photographs, from their features."""
        found: Captions = (search or make_search(self.config))(
            self.decoder, features.to(self.device, torch.float32), attention
        )
        for image in range(len(found.tokens)):
            tokens = found.tokens[image, 0].tolist()
            words = tokens.index(END) if END in tokens else len(tokens)
            maps = None
            if found.attention is not None:
                weights = found.attention[image, 0, :words].float().cpu().numpy()  # (T, L)
                maps = weights.reshape(words, *self.encoder.spec.layout("grid"))
            yield Caption(self.vocabulary.decode(tokens), float(found.scores[image, 0]), maps)
