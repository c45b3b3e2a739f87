"""Untrained captioners and a model of answers for the page, pictures, and a server."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from PIL import Image

from captioning.core.questions import AnswerSet, QuestionVocabulary
from captioning.core.vocabulary import END, SPECIAL, Vocabulary
from captioning.jobs.config import compose
from captioning.jobs.serve import listen
from captioning.predict.answerer import Answerer
from captioning.predict.captioner import Captioner
from captioning.runs import parts

WORDS = ("a", "red", "ball", "box", "star", "on", "the", "grass")
SEARCH = ("search=beam", "search.size=4", "search.max_length=6")
SMALL = ("encoder.last_stage=layer1", *SEARCH)
CLIPS = (  # an encoder of the frames of clips in the place of one of photographs
    *("encoder.frames=4", "encoder@encoder.encoders.picture=resnet18", "encoder.encoders.picture.weights=null"),
    *("encoder.encoders.picture.last_stage=layer1", "encoder.encoders.picture.image_size=16"),
)
PLACES = ("data.root=nowhere",)


def untrained(settings: list[str], *overrides: str, seed: int = 0) -> Captioner:
    """A captioner that babbles, and says something else of each picture; of clips with ``encoder=frames`` or flow."""
    clips = any(each.startswith("encoder=") for each in overrides)
    line = [each for each in settings if not each.startswith(("search", "data.root", *(["encoder"] if clips else [])))]
    small = (*CLIPS, *SEARCH) if clips else SMALL
    config, vocabulary = compose([*line, *small, *PLACES, *overrides]), Vocabulary([*SPECIAL, *WORDS])
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


def unasked() -> Answerer:
    """A model of answers that answers by the picture, and looks twice."""
    config = compose(
        [
            *("task=answering", "data=own_questions", "data.root=nowhere", "answerer=stacked_attention", "cell=rnn"),
            *("answerer.embedding_size=8", "answerer.hidden_size=8", "encoder=resnet18", "encoder.weights=null"),
            *("encoder.last_stage=layer1", "encoder.image_size=32"),
        ]
    )
    vocabulary = QuestionVocabulary([*SPECIAL, "what", "is", "this", "the", "color"])
    answers = AnswerSet(["red", "green", "blue", "two", "a dog", "a cat", "grass"])
    torch.manual_seed(0)
    encoder = parts.make_encoder(config)
    model = parts.make_answerer(config, vocabulary, answers, encoder.spec)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 1)
    return Answerer(encoder, model, vocabulary, answers, config)


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
        answerer: the model of answers behind it.
    """

    address: str
    captioners: dict[str, Captioner]
    answerer: Answerer


@contextmanager
def serving(captioners: dict[str, Captioner], answerer: Answerer) -> Iterator[Served]:
    """A server that runs in the block."""
    uvicorn = pytest.importorskip("uvicorn", reason="needs captioning[web]")
    from captioning.web.app import make_app

    listening = listen("127.0.0.1", 0)
    server = uvicorn.Server(
        uvicorn.Config(make_app(captioners, {"answers": answerer}), log_level="warning", access_log=False)
    )
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield Served(f"http://127.0.0.1:{listening.getsockname()[1]}", captioners, answerer)
    server.should_exit = True
    thread.join(10)
    assert not thread.is_alive()
