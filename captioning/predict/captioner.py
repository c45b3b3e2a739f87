"""Captions from Python: ``Captioner.load("runs/flickr8k")(["photo.jpg"])``.

Dimensions: B images, N captions of an image, T words, L regions.
"""

import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from operator import attrgetter
from typing import Any, overload

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from captioning.core.errors import CaptioningError
from captioning.core.features import Features
from captioning.core.images import read_image, stack, to_rgb
from captioning.core.terminal import printable
from captioning.core.vocabulary import END, Vocabulary
from captioning.decoders import Decoder
from captioning.encoders import Encoder
from captioning.predict.ensemble import Average, Ensemble, Member
from captioning.predict.joint_encoder import JointEncoder, distinct, prefixed
from captioning.predict.loading import load
from captioning.predict.maps import attended_part
from captioning.runs.parts import make_decoder, make_encoder, make_search
from captioning.search import Captions, Search

Picture = str | os.PathLike[str] | Image.Image


@dataclass(frozen=True)
class Caption:
    """One caption of one picture.

    Attributes:
        text: the words, separated by blanks.
        score: the log-probability that it was ranked by, in nats (see ``captioning.search``).
        attention: ``(T, rows, columns)``, where the decoder looked when it said each of the T words; one row of as many
            regions as the picture has, where its regions are no map. None where not asked for, or where the decoder has
            no attention.
    """

    text: str
    score: float
    attention: "np.ndarray[tuple[int, int, int], np.dtype[np.float32]] | None" = None


class Captioner:
    """An encoder and a decoder, trained, with their vocabulary; or an ensemble of several captioners.

    Attributes:
        encoder: photographs to features; of an ensemble with different encoders a ``JointEncoder``.
        decoder: features to words; of an ensemble an ``Ensemble``.
        vocabulary: of the decoder.
        config: of the trained run; of an ensemble that of its first member.
    """

    def __init__(
        self, encoder: Encoder, decoder: Decoder | Ensemble, vocabulary: Vocabulary, config: Mapping[str, Any]
    ) -> None:
        """Take the parts; they are put in evaluation mode."""
        self.encoder, self.decoder = encoder.eval(), decoder.eval()
        self.vocabulary, self.config = vocabulary, config

    @classmethod
    def load(
        cls,
        path: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
        device: str = "auto",
        trust: Collection[str] = (),
        average: Average = "probabilities",
    ) -> "Captioner":
        """Read a checkpoint; it may be a stranger's, for nothing that it holds or names is run (docs/security.md).

        Args:
            path: a ``.ckpt`` file, or a run's folder (its best checkpoint); several of them for an ensemble.
            device: where to run; ``"auto"``: the GPU where there is one.
            trust: modules or classes outside of this package that it may name: these are imported.
            average: what an ensemble averages, see ``Ensemble``.

        Raises:
            CaptioningError: there is no such checkpoint, it is of a language model, it names a class that is not
                trusted, it does not fit this version of the code, or the vocabularies of an ensemble differ.
        """
        paths = [path] if isinstance(path, (str, os.PathLike)) else list(path)
        captioners = [cls._load(each, device, trust) for each in paths]
        if len(captioners) == 1:
            return captioners[0]
        return cls.combine(captioners, average, [str(each) for each in paths])

    @classmethod
    def _load(cls, path: str | os.PathLike[str], device: str, trust: Collection[str]) -> "Captioner":
        trained = load(path, device, trust, attrgetter("words"), _make)
        try:
            make_search(trained.config)  # what it does not take is said now, and with the file's name
        except CaptioningError as error:
            raise CaptioningError(f"{trained.path}: {printable(str(error))}") from error
        return cls(trained.parts["encoder"], trained.parts["decoder"], trained.vocabulary, trained.config)

    @classmethod
    def combine(
        cls, captioners: Sequence["Captioner"], average: Average = "probabilities", names: Sequence[str] = ()
    ) -> "Captioner":
        """An ensemble: several captioners whose predictions are averaged at every word of one search.

        Encoders that are equal run once per photograph. Words are numbered, and the search is set, as the first
        captioner has them.

        Args:
            captioners: one or more, on one device, with any encoders and decoders; they share their weights with the
                ensemble.
            average: what is averaged, see ``Ensemble``.
            names: of the captioners, for errors.

        Raises:
            CaptioningError: there is no captioner, or vocabularies differ in their words.
        """
        names = names or [f"captioner {number}" for number in range(1, len(captioners) + 1)]
        encoders, places = distinct([captioner.encoder for captioner in captioners])
        members = [
            Member(
                captioner.decoder,
                captioner.vocabulary,
                captioner.encoder.spec,
                captioner.encoder.transform,
                prefixed(place) if len(encoders) > 1 else "",
                name,
            )
            for captioner, place, name in zip(captioners, places, names, strict=True)
        ]
        ensemble = Ensemble(members, average)
        encoder = encoders[0] if len(encoders) == 1 else JointEncoder(encoders, ensemble.seen)
        return cls(encoder, ensemble, captioners[0].vocabulary, captioners[0].config)

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

    @overload
    def caption(
        self,
        pictures: Picture | Iterable[Picture],
        search: Search | None = ...,
        batch_size: int = ...,
        attention: bool = ...,
        n: None = ...,
    ) -> Iterator[Caption]: ...

    @overload
    def caption(
        self,
        pictures: Picture | Iterable[Picture],
        search: Search | None = ...,
        batch_size: int = ...,
        attention: bool = ...,
        *,
        n: int,
    ) -> Iterator[list[Caption]]: ...

    def caption(
        self,
        pictures: Picture | Iterable[Picture],
        search: Search | None = None,
        batch_size: int = 16,
        attention: bool = False,
        n: int | None = None,
    ) -> Iterator[Caption] | Iterator[list[Caption]]:
        """Like calling it, one by one as they come, with scores and, if asked for, attention maps.

        Args:
            pictures: paths or PIL pictures of any mode and size, or a single one.
            search: the one that it was trained with where not given.
            batch_size: pictures at a time.
            attention: whether to return the attention maps.
            n: how many captions of each picture are wanted; None for the best one by itself.

        Yields:
            For each picture its best caption; with ``n`` a list of the n best, best first (of fewer, where the search
            finds no more). Captions of one list differ in beam search; draws of sampling may be the same.

        Raises:
            CaptioningError: a picture can't be read; attention was asked for and the decoder has none; ``batch_size``
                or ``n`` is below 1; the search can't find n captions.
        """
        found = self._caption(pictures, search, batch_size, attention, n)
        return found if n is not None else (captions[0] for captions in found)

    def _caption(
        self,
        pictures: Picture | Iterable[Picture],
        search: Search | None,
        batch_size: int,
        attention: bool,
        n: int | None,
    ) -> Iterator[list[Caption]]:
        if batch_size < 1:
            raise CaptioningError(f"A batch of {batch_size} pictures: take 1 or more at a time.")
        search = self._search(search, n)  # once: a seeded one draws other numbers for every batch
        if isinstance(pictures, (str, os.PathLike, Image.Image)):
            pictures = [pictures]
        for images in self._images(iter(pictures), batch_size):
            with torch.inference_mode():
                features: Features = self.encoder(images.to(self.device))
            for captions in self._caption_features(features, search, attention, n):
                if attention and captions[0].attention is None:
                    raise CaptioningError(self._no_attention())
                yield captions

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

    @overload
    def caption_features(
        self, features: Features, search: Search | None = ..., attention: bool = ..., n: None = ...
    ) -> Iterator[Caption]: ...

    @overload
    def caption_features(
        self, features: Features, search: Search | None = ..., attention: bool = ..., *, n: int
    ) -> Iterator[list[Caption]]: ...

    def caption_features(
        self, features: Features, search: Search | None = None, attention: bool = False, n: int | None = None
    ) -> Iterator[Caption] | Iterator[list[Caption]]:
        """Like ``caption``, from the features of B photographs; where the decoder has no attention, it is None.

        Raises:
            CaptioningError: the search can't find n captions.
        """
        found = self._caption_features(features, self._search(search, n), attention, n)
        return found if n is not None else (captions[0] for captions in found)

    def _search(self, search: Search | None, n: int | None) -> Search:
        """The search, or else that of training, for n captions of each photograph."""
        search = search or make_search(self.config)
        if n is not None and n < 1:
            raise CaptioningError(f"{n} captions of each photograph: ask for 1 or more.")
        return search if n is None else search.with_captions(n)

    def _caption_features(
        self, features: Features, search: Search, attention: bool, n: int | None
    ) -> Iterator[list[Caption]]:
        """The n best captions of each of B photographs, best first; one where n is None."""
        found: Captions = search(self.decoder, features.to(self.device, torch.float32), attention)
        count = n or 1
        if found.tokens.shape[1] < count:
            raise CaptioningError(
                f"{count} captions of each photograph: {type(search).__name__} finds {found.tokens.shape[1]}. "
                "Ask for fewer, or take another search."
            )
        regions = 0 if found.attention is None else found.attention.shape[-1]
        part = attended_part(self.decoder.reads, features, regions)
        for image in range(len(found.tokens)):
            captions: list[Caption] = []
            for place in range(count):
                score = float(found.scores[image, place])
                if captions and score == -torch.inf:
                    break  # the search has found no more
                tokens = found.tokens[image, place].tolist()
                words = tokens.index(END) if END in tokens else len(tokens)
                maps = None
                if found.attention is not None:
                    maps = self._maps(found.attention[image, place, :words], features, image, part)
                captions.append(Caption(self.vocabulary.decode(tokens), score, maps))
            yield captions

    def _maps(
        self, weights: Tensor, features: Features, image: int, part: str | None
    ) -> "np.ndarray[tuple[int, int, int], np.dtype[np.float32]]":
        """The weights ``(T, L)`` of one photograph as maps ``(T, rows, columns)``."""
        if part in features.lengths:
            weights = weights[:, : int(features.lengths[part][image])]
        spec = self.encoder.spec
        is_map = part is not None and part not in features.lengths and spec.regions(part) == weights.shape[1]
        rows, columns = spec.layout(part) if is_map and part is not None else (1, weights.shape[1])
        maps: np.ndarray[tuple[int, int, int], np.dtype[np.float32]] = weights.float().cpu().numpy()
        return maps.reshape(len(weights), rows, columns)

    def _no_attention(self) -> str:
        kind = "This ensemble" if isinstance(self.decoder, Ensemble) else type(self.decoder).__name__
        apart = " (or its members attend to different parts of a photograph)" if kind == "This ensemble" else ""
        return f"{kind} has no attention to show{apart}. Use a checkpoint of decoder=show_attend_tell."


def _make(config: Mapping[str, Any], vocabulary: Vocabulary) -> dict[str, nn.Module]:
    encoder = make_encoder({**config, "encoder": {**config["encoder"], "weights": None}})
    return {"encoder": encoder, "decoder": make_decoder(config, vocabulary, encoder.spec)}
