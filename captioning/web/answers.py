"""From the bytes of a photograph or a clip to what the page shows: captions, looks, and answers."""

import base64
import io
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from captioning.core.clips import each_frame
from captioning.core.errors import CaptioningError
from captioning.core.images import ImageTransform, read_image, size_of
from captioning.encoders.frames import ClipTransform
from captioning.encoders.several import JointTransform
from captioning.predict.answerer import Answerer
from captioning.predict.captioner import Caption, Captioner
from captioning.predict.explain import Explained, explain
from captioning.runs.parts import make_search
from captioning.search import Beam, Greedy, Sample, Search

BYTES = 20 * 10**6  # of a photograph or a clip
PIXELS = 50 * 10**6
SIDE = 720  # pixels of the longer side of the photograph that the page shows
FRAMES = 20_000  # of a clip: eleven minutes at thirty frames a second
FRAME = 200  # pixels of the longer side of a clip's frame that the page shows
WIDEST = 20  # beams
CAPTIONS = 5
ANSWERS = 5
CHARACTERS = 300  # of a question
NAME, CLIP = "the picture", "the clip"  # in messages: a browser's file has no path


@dataclass(frozen=True)
class Wish:
    """The settings of the page's controls.

    Attributes:
        search: ``trained``, ``greedy``, ``beam`` or ``sample``.
        beam: the width of beam search.
        temperature: the temperature of sampling.
        seed: the seed of sampling.
    """

    search: str = "trained"
    beam: int = 5
    temperature: float = 1.0
    seed: int = 0

    @classmethod
    def of(cls, query: Mapping[str, str]) -> "Wish":
        """The settings of a request.

        Raises:
            CaptioningError: a setting is unknown or out of its range.
        """
        try:
            wish = cls(
                query.get("search", "trained"),
                int(query.get("beam", 5)),
                float(query.get("temperature", 1)),
                int(query.get("seed", 0)),
            )
        except ValueError as error:
            raise CaptioningError("The beam is a whole number, and the temperature a number.") from error
        if wish.search not in ("trained", "greedy", "beam", "sample"):
            raise CaptioningError("The search is one of trained, greedy, beam and sample.")
        if not 1 <= wish.beam <= WIDEST:
            raise CaptioningError(f"The beam is a whole number from 1 to {WIDEST}.")
        if not (math.isfinite(wish.temperature) and 0.05 <= wish.temperature <= 5):
            raise CaptioningError("The temperature is a number from 0.05 to 5.")
        if not 0 <= wish.seed < 2**31:
            raise CaptioningError("The seed is a whole number of 0 or more.")
        return wish

    def search_of(self, captioner: Captioner) -> tuple[Search, int]:
        """The search, and the number of captions that it finds."""
        trained = make_search(captioner.config)
        length: int = trained.max_length
        if self.search == "greedy":
            return Greedy(max_length=length), 1
        if self.search == "sample":
            return Sample(length, temperature=self.temperature, seed=self.seed), CAPTIONS
        if self.search == "beam":
            penalty = trained.length_penalty if isinstance(trained, Beam) else 0.0
            return Beam(self.beam, max_length=length, length_penalty=penalty), min(self.beam, CAPTIONS)
        return trained, min(trained.size, CAPTIONS) if isinstance(trained, Beam) else 1


def read_photograph(content: bytes) -> Image.Image:
    """A photograph of a request, upright and in RGB.

    Raises:
        CaptioningError: the bytes are no picture that can be read, or too many, or of too many pixels.
    """
    _check_bytes(content)
    _check_pixels(*size_of(NAME, content))
    return read_image(NAME, content)


def reads_clips(captioner: Captioner) -> bool:
    """True for a captioner whose encoder, or one of its encoders, reads the frames of a clip."""
    transform = captioner.encoder.transform
    found = transform.transforms if isinstance(transform, JointTransform) else (transform,)
    return any(isinstance(each, ClipTransform) for each in found)


def read_clip(transform: ImageTransform, content: bytes) -> tuple[Tensor, list[Image.Image]]:
    """A clip of a request, of which memory holds the chosen frames in the encoder's size, and one as it is.

    Args:
        transform: the transform of an encoder that reads clips.
        content: the clip's bytes; a still picture is a clip of one frame.

    Returns:
        The encoder's input, and the frames as the encoder is given them, small and in the clip's proportions.

    Raises:
        CaptioningError: the bytes are no clip that can be read, or too many, or of too many frames or pixels.
    """
    _check_bytes(content)
    try:
        size = size_of(NAME, content)
    except CaptioningError:
        size = (0, 0)  # no picture; the reader of videos has a bound of its own
    _check_pixels(*size)
    width, height = next(each_frame(CLIP, _first, content)).size
    pixels = transform.read(CLIP, content)
    clips, of_clips = _clips_in(transform, pixels)
    frames = clips.frames_in(of_clips)
    if clips.of.fit == "crop":
        width, height = frames[0].size
    scale = FRAME / max(width, height)
    shown = max(1, round(scale * width)), max(1, round(scale * height))
    return pixels, [frame.resize(shown) for frame in frames]


def _clips_in(transform: ImageTransform, pixels: Tensor) -> tuple[ClipTransform, Tensor]:
    """The first transform of clips, and its part of the encoder's input ``(3, 1, N)``."""
    if isinstance(transform, ClipTransform):
        return transform, pixels
    assert isinstance(transform, JointTransform)
    sizes = [rows * columns for rows, columns in (each.shape for each in transform.transforms)]
    pieces = torch.split(pixels, sizes, dim=2)
    return next(
        (each, piece)
        for each, piece in zip(transform.transforms, pieces, strict=True)
        if isinstance(each, ClipTransform)
    )


def _first(count: int) -> list[int]:
    """The first frame alone.

    Raises:
        CaptioningError: there are too many, each of which up to the last chosen one is decoded.
    """
    if count > FRAMES:
        raise CaptioningError(
            f"{CLIP} has {count:,} frames; up to {FRAMES:,} are read here. Cut a shorter piece out of it."
        )
    return [0]


def _check_bytes(content: bytes) -> None:
    if not content:
        raise CaptioningError(f"{NAME}: the file is empty. Take another.")
    if len(content) > BYTES:
        raise CaptioningError(too_large())


def _check_pixels(width: int, height: int) -> None:
    if width * height > PIXELS:
        raise CaptioningError(
            f"{NAME}: {width} × {height} pixels are too many ({width * height / 1e6:.0f} million). Make it smaller: up "
            f"to {PIXELS / 1e6:.0f} million pixels are read here."
        )


def too_large() -> str:
    """The sentence on a file of too many bytes."""
    return f"{NAME}: the file is larger than {BYTES / 1e6:.0f} MB. Make it smaller."


def answer(captioner: Captioner, content: bytes, wish: Wish) -> dict[str, Any]:
    """What the page shows of one photograph, or of one clip for a captioner of clips, as JSON values.

    Args:
        captioner: the captioner.
        content: the bytes of the photograph or the clip.
        wish: the settings of the page's controls.

    Raises:
        CaptioningError: the photograph or the clip can't be read, or a setting does not fit.
    """
    transform = captioner.encoder.transform
    shown: dict[str, Any]
    if reads_clips(captioner):
        pixels, frames = read_clip(transform, content)
        shown = {
            "seen": [0.0, 0.0, 1.0, 1.0],
            "picture": _picture(frames[len(frames) // 2]),
            "frames": [_picture(frame) for frame in frames],
        }
    else:
        image = read_photograph(content)
        pixels = transform(image)
        shown = {"seen": _seen(transform, image), "picture": _picture(image)}
    search, count = wish.search_of(captioner)
    (features, captions) = captioner.look(pixels, search, count)
    told = explain(captioner.decoder, captioner.vocabulary, features, [caption.text for caption in captions])
    return {
        "caption": captions[0].text,
        "captions": [_caption(caption, each) for caption, each in zip(captions, told, strict=True)],
        "search": str(search),
        **shown,
    }


def reply(answerer: Answerer, content: bytes, question: str) -> dict[str, Any]:
    """What the page shows of one question about a photograph, as JSON values.

    Args:
        answerer: the model of answers.
        content: the photograph's bytes.
        question: the question.

    Raises:
        CaptioningError: the photograph can't be read, or the question has no word that the model knows.
    """
    if len(question) > CHARACTERS:
        raise CaptioningError(f"The question is longer than {CHARACTERS} characters. Ask a shorter one.")
    image = read_photograph(content)
    found = answerer.ask(image, question, ANSWERS, attention=None)
    seen = [0.0, 0.0, 1.0, 1.0] if answerer.encoder is None else _seen(answerer.encoder.transform, image)
    return {
        "answers": [{"text": each.text, "probability": each.probability} for each in found.answers],
        "looks": [] if found.attention is None else [_map(weights) for weights in found.attention],
        "seen": seen,
        "picture": _picture(image),
    }


def _seen(transform: ImageTransform, image: Image.Image) -> list[float]:
    """Left, top, right and bottom edge of what the encoder sees, as fractions of the photograph's sides."""
    width, height = image.size
    left, top, right, bottom = transform.seen(image.size)
    return [left / width, top / height, right / width, bottom / height]


def _map(weights: Any) -> list[list[float]]:
    return [[round(float(value), 5) for value in row] for row in weights]


def _caption(caption: Caption, told: Explained) -> dict[str, Any]:
    words = []
    for place, word in enumerate([*caption.text.split(), "<end>"]):
        one: dict[str, Any] = {"word": word, "probability": told.probabilities[place], "next": told.likeliest[place]}
        if caption.attention is not None and place < len(caption.attention):
            one["attention"] = _map(caption.attention[place])
        if caption.sentinel is not None and place < len(caption.sentinel):
            one["sentinel"] = round(float(caption.sentinel[place]), 4)
        words.append(one)
    return {
        "text": caption.text,
        "score": round(caption.score, 4),
        "probability": math.exp(told.log_probability),
        "words": words,
    }


def _picture(image: Image.Image, side: int = SIDE) -> str:
    """A small copy of the photograph as a ``data:`` address: browsers do not show every format that is read here."""
    small = image.copy()
    small.thumbnail((side, side))
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=85)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"
