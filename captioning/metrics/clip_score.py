"""CLIPScore and RefCLIPScore: how well a caption goes with its photograph, by CLIP, with or without references.

Hessel et al., "CLIPScore: A Reference-free Evaluation Metric for Image Captioning" (EMNLP 2021), sections 3 and 3.1:

    CLIPScore(c, v) = 2.5 · max(cos(c, v), 0)
    RefCLIPScore(c, R, v) = harmonic mean of CLIPScore(c, v) and max(max over r in R of cos(c, r), 0)

of embeddings c of the caption, v of the photograph and r of the references, each text behind "A photo depicts". The
published numbers are of OpenAI's ViT-B/32. Needs ``captioning[clip]`` (open_clip), which downloads the weights on their
first use.

Dimensions: N images, D numbers of an embedding.
"""

from collections.abc import Callable, Iterable, Sequence
from os import PathLike
from typing import Any, Protocol

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from captioning.core.errors import CaptioningError
from captioning.core.images import read_image, to_rgb
from captioning.core.measure import Measure
from captioning.metrics.metric import Metric, Pairs, UnavailableError
from captioning.metrics.ngrams import Floats

WEIGHT = 2.5
PROMPT = "A photo depicts "
Photo = str | PathLike[str] | Image.Image


class Model(Protocol):
    """What is used of an open_clip model."""

    def encode_image(self, image: Tensor) -> Tensor:
        """``(N, D)`` embeddings of ``(N, 3, height, width)`` pixels."""

    def encode_text(self, text: Tensor) -> Tensor:
        """``(N, D)`` embeddings of ``(N, words)`` tokens."""


class ClipScore(Metric):
    """CLIPScore and RefCLIPScore, the means of the images' scores, of photographs in the order of the references."""

    def __init__(
        self,
        photos: Sequence[Photo],
        model: Model,
        preprocess: Callable[[Image.Image], Tensor],
        tokenizer: Callable[[list[str]], Tensor],
        *,
        device: str | torch.device = "cpu",
        batch_size: int = 64,
    ) -> None:
        """Take the photographs and a model; see ``load`` for one with published weights.

        Args:
            photos: N photographs or their files.
            model: the model, in ``eval`` mode and on the device.
            preprocess: from a photograph to ``(3, height, width)`` pixels.
            tokenizer: from texts to ``(texts, words)`` tokens.
            device: the model's device.
            batch_size: photographs or texts at once.
        """
        self.photos, self.model, self.preprocess, self.tokenizer = photos, model, preprocess, tokenizer
        self.device, self.batch_size = device, batch_size
        self._photos: Floats | None = None

    @classmethod
    def load(
        cls,
        photos: Sequence[Photo],
        name: str = "ViT-B-32-quickgelu",
        weights: str = "openai",
        *,
        device: str | torch.device = "cpu",
        batch_size: int = 64,
    ) -> "ClipScore":
        """The metric with a model of open_clip; by default the one of the published scores.

        Raises:
            UnavailableError: open_clip is not installed, or the weights can't be had.
        """
        try:
            import open_clip
        except ImportError:
            raise UnavailableError("CLIPScore needs the package open_clip: pip install 'captioning[clip]'") from None
        try:
            model, _, preprocess = open_clip.create_model_and_transforms(name, pretrained=weights, device=device)
            tokenizer = open_clip.get_tokenizer(name)
        except Exception as error:  # open_clip has no error of its own: no such name, no network, no space
            raise UnavailableError(
                f"CLIPScore: the model {name} with the weights {weights} can't be loaded ({error}). Names are in "
                "open_clip.list_pretrained(); weights are downloaded on their first use."
            ) from error
        return cls(photos, model.eval(), preprocess, tokenizer, device=device, batch_size=batch_size)

    @property
    def measures(self) -> tuple[Measure, ...]:
        """CLIPScore and RefCLIPScore."""
        return tuple(Measure(name, higher_is_better=True, scale=100) for name in ("CLIPScore", "RefCLIPScore"))

    def statistics(self, pairs: Pairs) -> Floats:
        """``(N, 2)``: CLIPScore and RefCLIPScore of each image; the photographs' embeddings are kept.

        Raises:
            CaptioningError: the numbers of photographs and images differ, or a photograph can't be read.
        """
        if len(self.photos) != len(pairs):
            raise CaptioningError(
                f"CLIPScore has {len(self.photos)} photographs, and there are captions of {len(pairs)}. Give one "
                "photograph for each caption, in the same order."
            )
        if self._photos is None:
            self._photos = self._embed(map(self._pixels, self.photos), len(self.photos), self.model.encode_image)
        said = self._texts(list(pairs.candidates))
        references = self._texts([caption for captions in pairs.references for caption in captions])
        clip = WEIGHT * np.maximum((said * self._photos).sum(1), 0)
        per_image = pairs.prepared.per_image
        similar = (np.repeat(said, per_image, axis=0) * references).sum(1)
        best = np.maximum(np.maximum.reduceat(similar, pairs.prepared.first), 0)
        both = clip + best
        harmonic = np.divide(2 * clip * best, both, out=np.zeros_like(both), where=both > 0)
        return np.stack([clip, harmonic], axis=1)

    def _pixels(self, photo: Photo) -> Tensor:
        return self.preprocess(to_rgb(photo if isinstance(photo, Image.Image) else read_image(photo)))

    def _texts(self, captions: Sequence[str]) -> Floats:
        tokens: Any = self.tokenizer([PROMPT + caption for caption in captions])
        return self._embed(iter(tokens), len(captions), self.model.encode_text)

    def _embed(self, items: Iterable[Tensor], count: int, encode: Callable[[Tensor], Tensor]) -> Floats:
        """``(count, D)``: embeddings of length 1."""
        items, found = iter(items), []
        with torch.no_grad():
            for begin in range(0, count, self.batch_size):
                batch = torch.stack([next(items) for _ in range(min(self.batch_size, count - begin))])
                found.append(F.normalize(encode(batch.to(self.device)).float(), dim=-1).cpu().numpy())
        return np.concatenate(found).astype(np.float64)
