"""Captions from Python: ``Captioner.load("runs/flickr8k")(["photo.jpg"])``.

Dimensions: B images, N captions of an image, T words, L regions.
"""

import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from captioning.core.errors import CaptioningError
from captioning.core.features import Features
from captioning.core.images import ImageTransform, stack
from captioning.core.terminal import printable
from captioning.core.vocabulary import END, Vocabulary
from captioning.decoders import Decoder
from captioning.encoders import Encoder
from captioning.encoders.several import Several, distinct, prefixed
from captioning.predict.ensemble import Average, Ensemble, Member
from captioning.predict.loading import load
from captioning.predict.maps import attended_part
from captioning.predict.pictures import Encoded, Picture, Unusable, read_ahead
from captioning.predict.publishing import Publishing
from captioning.predict.soup import average_weights
from captioning.runs.parts import make_decoder, make_encoder, make_search
from captioning.runs.published import inside
from captioning.runs.settings import tokenizer_of, without_weights
from captioning.search import Captions, ConstrainedBeam, Search, constrained
from captioning.search.constrained_beam import Words

if TYPE_CHECKING:
    from captioning.text.registry import Tokenizer

Averaged = Average | Literal["weights"]  # what several captioners take the mean of


@dataclass(frozen=True)
class Caption:
    """One caption of one image.

    Attributes:
        text: the words, separated by spaces.
        score: what ranks the caption: its log-probability, in nats, unless the search says otherwise.
        attention: ``(T, rows, columns)``, the attention weights of each of the T words; ``(T, 1, regions)`` if the
            image's regions are no map. None if not requested, or if the decoder has no attention.
        sentinel: ``(T,)``, the weight β of the visual sentinel at each word, from 0 for a word that comes from the
            regions alone to 1 for a word that comes from no region. None if not requested, or if the decoder has no
            sentinel.
    """

    text: str
    score: float
    attention: "np.ndarray[tuple[int, int, int], np.dtype[np.float32]] | None" = None
    sentinel: "np.ndarray[tuple[int], np.dtype[np.float32]] | None" = None


class Captioner(Publishing):
    """A trained encoder and decoder with their vocabulary; or an ensemble of several captioners.

    Attributes:
        encoder: the encoder; for an ensemble with different encoders ``Several``.
        decoder: the decoder; for an ensemble an ``Ensemble``.
        vocabulary: the decoder's vocabulary.
        config: the configuration of the trained run; for an ensemble that of its first member.
    """

    def __init__(
        self, encoder: Encoder, decoder: Decoder | Ensemble, vocabulary: Vocabulary, config: Mapping[str, Any]
    ) -> None:
        """Take the parts, and put them in evaluation mode."""
        self.encoder, self.decoder = encoder.eval(), decoder.eval()
        self.vocabulary, self.config = vocabulary, config

    @classmethod
    def load(
        cls,
        path: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] | None = None,
        device: str = "auto",
        trust: Collection[str] = (),
        average: Averaged = "probabilities",
        weights: Sequence[float] | None = None,
    ) -> "Captioner":
        """Read a checkpoint, also a stranger's: no code that the checkpoint holds or names is run (docs/security.md).

        Args:
            path: a ``.ckpt`` file, a run's folder (its best checkpoint), or a published captioner's folder; several
                such paths for an ensemble. None for the captioner that comes with the installation.
            device: the device; ``"auto"`` is the GPU if there is one, else the CPU.
            trust: modules or classes outside of this package that the checkpoint may name; ``load`` imports them.
            average: the quantity that several captioners average, see ``combine``.
            weights: the weights of several captioners in the mean, see ``combine``.

        Raises:
            CaptioningError: the checkpoint does not exist, is a language model's, names a class that is not trusted, or
                does not fit this version of the code; several captioners do not fit together.
        """
        path = inside() if path is None else path
        paths = [path] if isinstance(path, (str, os.PathLike)) else list(path)
        captioners = [cls._load(each, device, trust) for each in paths]
        if len(captioners) == 1:
            return captioners[0]
        return cls.combine(captioners, average, [str(each) for each in paths], weights)

    @classmethod
    def _load(cls, path: str | os.PathLike[str], device: str, trust: Collection[str]) -> "Captioner":
        trained = load(path, device, trust, attrgetter("words"), _make)
        try:
            make_search(trained.config)  # so that wrong settings are reported now, with the file's name
        except CaptioningError as error:
            raise CaptioningError(f"{trained.path}: {printable(str(error))}") from error
        captioner = cls(trained.parts["encoder"], trained.parts["decoder"], trained.vocabulary, trained.config)
        captioner.path = trained.path
        return captioner

    @classmethod
    def combine(
        cls,
        captioners: Sequence["Captioner"],
        average: Averaged = "probabilities",
        names: Sequence[str] = (),
        weights: Sequence[float] | None = None,
    ) -> "Captioner":
        """An ensemble: several captioners whose predictions are averaged at every word of one search.

        Equal encoders run once per image. The words' numbers and the search's settings are those of the first
        captioner. With ``average="weights"`` the result is no ensemble but one captioner of the mean weights, see
        ``captioning.predict.soup``.

        Args:
            captioners: one or more captioners on one device, with any encoders and decoders; the ensemble shares their
                weights.
            average: the quantity that is averaged: ``"probabilities"`` or ``"log-probabilities"``, see ``Ensemble``, or
                ``"weights"``, of captioners of one architecture.
            names: the captioners' names, for errors.
            weights: the weight of each captioner in the mean; None for equal weights.

        Raises:
            CaptioningError: there is no captioner, or vocabularies differ in their words; weights are to be averaged,
                and the architectures differ; ``weights`` do not fit, see ``Ensemble``.
        """
        names = names or [f"captioner {number}" for number in range(1, len(captioners) + 1)]
        if average == "weights" and weights is not None:
            raise CaptioningError("The mean weights of networks are an equal mean: leave the captioners' weights out.")
        if average == "weights" and captioners:
            parts = average_weights(
                [{"encoder": each.encoder, "decoder": each.decoder} for each in captioners],
                [each.vocabulary for each in captioners],
                [each.config for each in captioners],
                names,
            )
            return cls(**parts, vocabulary=captioners[0].vocabulary, config=captioners[0].config)  # type: ignore[arg-type]
        assert average != "weights"
        encoders, places = distinct([captioner.encoder for captioner in captioners])
        members = [
            Member(
                captioner.decoder,
                captioner.vocabulary,
                captioner.encoder.spec,
                captioner.encoder.transform,
                prefixed(str(place)) if len(encoders) > 1 else "",
                name,
            )
            for captioner, place, name in zip(captioners, places, names, strict=True)
        ]
        ensemble = Ensemble(members, average, weights)
        encoder = encoders[0] if len(encoders) == 1 else _beside(encoders, ensemble.seen)
        return cls(encoder, ensemble, captioners[0].vocabulary, captioners[0].config)

    @property
    def tokenizer(self) -> "Tokenizer":
        """The tokenizer of the captions of its training, for references and scores."""
        from captioning.text.registry import find_tokenizer  # not needed to caption photographs

        return find_tokenizer(tokenizer_of(self.config))

    @property
    def device(self) -> torch.device:
        """The captioner's device."""
        device: torch.device = next(self.decoder.parameters()).device
        return device

    def __call__(
        self, pictures: Picture | Iterable[Picture], search: Search | None = None, batch_size: int = 16
    ) -> list[str]:
        """The caption of each image.

        Args:
            pictures: paths or PIL images of any mode and size, or a single path or image.
            search: the search; None for the search of ``config``.
            batch_size: the number of images per batch.

        Raises:
            CaptioningError: an image can't be read.
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
        must_say: Words = ...,
        unusable: Unusable | None = ...,
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
        must_say: Words = ...,
        unusable: Unusable | None = ...,
    ) -> Iterator[list[Caption]]: ...

    def caption(
        self,
        pictures: Picture | Iterable[Picture],
        search: Search | None = None,
        batch_size: int = 16,
        attention: bool = False,
        n: int | None = None,
        must_say: Words = (),
        unusable: Unusable | None = None,
    ) -> Iterator[Caption] | Iterator[list[Caption]]:
        """Caption images one after the other, with scores and, if requested, attention maps.

        Args:
            pictures: paths, PIL images of any mode and size, or bytes of image files (``Encoded``); or a single one.
            search: the search; None for the search of ``config``.
            batch_size: the number of images per batch.
            attention: whether to return the attention maps and, of a decoder with a sentinel, the sentinel's weights.
            n: the number of captions of each image; None for the best caption alone.
            must_say: words that every caption says (``["dog", "ball|frisbee"]``), or a list of them for each image, see
                ``captioning.search.ConstrainedBeam``; the search is beam or greedy search.
            unusable: a function that is called with the place (from 0) and the error of each image that can't be read,
                before the captions of its batch; the image has no caption, and the others go on. With None the first
                such error is raised, after the captions of the images before it.

        Yields:
            For each image its best caption; with ``n`` a list of the n best, best first (fewer if the search finds no
            more). Captions of one list differ in beam search; sampling may draw equal captions.

        Raises:
            CaptioningError: an image can't be read and ``unusable`` is None; attention is requested and the decoder has
                none; ``batch_size`` or ``n`` is below 1; the search can't find n captions, or can't be made to say
                words; the vocabulary lacks a word; the lists of words are more or fewer than the images.
        """
        found = self._caption(pictures, search, batch_size, attention, n, must_say, unusable)
        return found if n is not None else (captions[0] for captions in found)

    def _caption(
        self,
        pictures: Picture | Iterable[Picture],
        search: Search | None,
        batch_size: int,
        attention: bool,
        n: int | None,
        must_say: Words,
        unusable: Unusable | None,
    ) -> Iterator[list[Caption]]:
        if batch_size < 1:
            raise CaptioningError(f"A batch of {batch_size} pictures: take 1 or more at a time.")
        search = self._search(search, n)  # once: a seeded search draws other numbers for every batch
        if must_say:  # all of them now: a word that the vocabulary lacks is reported before the first caption
            search = constrained(search, must_say).for_vocabulary(self.vocabulary)
        of_each = search.must_say if isinstance(search, ConstrainedBeam) and search.of_each else None
        if isinstance(pictures, (str, os.PathLike, Image.Image, Encoded)):
            pictures = [pictures]
        read = 0
        for batch in read_ahead(iter(pictures), self.encoder.transform, batch_size):
            read += len(batch)
            images = batch.until_first_problem() if unusable is None else batch.images
            for place, error in batch.problems.items():
                if unusable is not None:
                    unusable(place, error)
            if of_each is not None and images:
                words = [of_each[place] for place in images if place < len(of_each)]
                search = constrained(search, words).for_vocabulary(self.vocabulary)
            if images:
                with torch.inference_mode():
                    features: Features = self.encoder(stack(list(images.values())).to(self.device))
                for captions in self._caption_features(features, search, attention, n):
                    if attention and captions[0].attention is None:
                        raise CaptioningError(self._no_attention())
                    yield captions
            if batch.problems and unusable is None:
                raise next(iter(batch.problems.values()))
        if of_each is not None and read != len(of_each):
            raise CaptioningError(f"must_say: {len(of_each)} lists of words for {read} images. Give one for each.")

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
        """Caption B images from their features, see ``caption``; without attention in the decoder the maps are None.

        Raises:
            CaptioningError: the search can't find n captions.
        """
        found = self._caption_features(features, self._search(search, n), attention, n)
        return found if n is not None else (captions[0] for captions in found)

    def look(
        self, picture: Image.Image | Tensor, search: Search | None = None, n: int = 1
    ) -> tuple[Features, list[Caption]]:
        """The features of one RGB image (or encoder's input), and its n best captions, with the maps of attention."""
        pixels = picture if isinstance(picture, Tensor) else self.encoder.transform(picture)
        with torch.inference_mode():
            features: Features = self.encoder(stack([pixels]).to(self.device))
        (captions,) = self.caption_features(features, search, attention=True, n=n)
        return features, captions

    def _search(self, search: Search | None, n: int | None) -> Search:
        """The given search, or else the search of ``config``, for n captions of each image."""
        search = (search or make_search(self.config)).for_vocabulary(self.vocabulary)
        search.require_encoder(self.encoder.fingerprint)
        if n is not None and n < 1:
            raise CaptioningError(f"{n} captions of each photograph: ask for 1 or more.")
        return search if n is None else search.with_captions(n)

    def _caption_features(
        self, features: Features, search: Search, attention: bool, n: int | None
    ) -> Iterator[list[Caption]]:
        """The n best captions of each of B images, best first; one caption if n is None."""
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
                maps = sentinel = None
                if found.attention is not None:
                    maps = self._maps(found.attention[image, place, :words], features, image, part)
                if found.sentinel is not None:
                    sentinel = found.sentinel[image, place, :words].float().cpu().numpy()
                captions.append(Caption(self.vocabulary.decode(tokens), score, maps, sentinel))
            yield captions

    def _maps(
        self, weights: Tensor, features: Features, image: int, part: str | None
    ) -> "np.ndarray[tuple[int, int, int], np.dtype[np.float32]]":
        """The weights ``(T, L)`` of one image as maps ``(T, rows, columns)``."""
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
        return f"{kind} has no attention to show{apart}. Use one with, such as decoder=show_attend_tell."


def _beside(encoders: Sequence[Encoder], seen: ImageTransform | None) -> Several:
    """The encoders of an ensemble as one, named by their numbers."""
    named = {str(number): encoder for number, encoder in enumerate(encoders)}
    return Several(named, joined=False, seen=seen or encoders[0].transform)


def _make(config: Mapping[str, Any], vocabulary: Vocabulary) -> dict[str, nn.Module]:
    encoder = make_encoder({**config, "encoder": without_weights(config["encoder"])})
    return {"encoder": encoder, "decoder": make_decoder(config, vocabulary, encoder.spec)}
