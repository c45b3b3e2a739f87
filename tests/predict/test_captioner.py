"""Captions from Python: the next pictures are read while the ones before are captioned."""

from collections.abc import Callable, Iterator
from threading import Event

import pytest
from PIL import Image

from captioning.core.errors import CaptioningError
from captioning.core.features import Features
from captioning.core.vocabulary import SPECIAL, Vocabulary
from captioning.decoders import Decoder
from captioning.jobs.config import compose
from captioning.predict.captioner import Captioner
from captioning.runs import parts
from captioning.search import Captions, Greedy


@pytest.fixture
def captioner(tiny: Callable[..., list[str]]) -> Captioner:
    config, vocabulary = compose(tiny("encoder.last_stage=layer1")), Vocabulary([*SPECIAL, "red"])
    encoder = parts.make_encoder(config)
    return Captioner(encoder, parts.make_decoder(config, vocabulary, encoder.spec), vocabulary, config)


class Waiting(Greedy):
    """Ends a search only once an event has come."""

    def __init__(self, event: Event) -> None:
        super().__init__(max_length=3)
        self.event, self.batches = event, 0

    def search(self, decoder: Decoder, features: Features, attention: bool) -> Captions:
        assert self.event.wait(20), "nobody reads while the search goes on"
        self.batches += 1
        return super().search(decoder, features, attention)


def test_the_next_batch_is_read_during_the_search(captioner: Captioner) -> None:
    last_read = Event()

    def pictures() -> Iterator[Image.Image]:
        for number in range(5):
            yield Image.new("RGB", (40, 30), (50 * number, 0, 0))
        last_read.set()

    search = Waiting(last_read)
    assert len(list(captioner.caption(pictures(), search, batch_size=3))) == 5
    assert search.batches == 2


def test_a_picture_that_cannot_be_read_costs_no_caption_of_the_batch_before(captioner: Captioner) -> None:
    found = captioner.caption([Image.new("RGB", (40, 30)), "nowhere.jpg"], batch_size=1)
    assert next(found).text is not None
    with pytest.raises(CaptioningError, match=r"nowhere\.jpg"):
        next(found)
