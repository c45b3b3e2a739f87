"""Several captions of each picture."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from PIL import Image

from captioning.core.errors import CaptioningError
from captioning.core.features import Features, FeatureSpec
from captioning.predict.captioner import Captioner
from captioning.search import Beam, Captions, ConditionalModel, Greedy, Sample, Search

Make = Callable[..., Captioner]
NOISE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8))
PICTURES = [Image.new("RGB", (40, 30), colour) for colour in ("red", "white", "blue")]


def test_the_n_best_are_those_of_the_search_and_all_different(make: Make) -> None:
    captioner = make("decoder=show_tell")
    features = captioner.encoder(torch.stack([captioner.encoder.transform(picture) for picture in PICTURES]))
    found = Beam(5, 6, n_best=4)(captioner.decoder, features)
    lists = list(captioner.caption(PICTURES, Beam(5, 6), batch_size=2, n=4))
    from_features = list(captioner.caption_features(features, Beam(5, 6), n=4))
    assert [[each.text for each in one] for one in lists] == [[each.text for each in one] for one in from_features]
    for b, captions in enumerate(lists):
        assert [caption.text for caption in captions] == [
            captioner.vocabulary.decode(r.tolist()) for r in found.tokens[b]
        ]
        np.testing.assert_allclose([caption.score for caption in captions], found.scores[b], atol=1e-5)
        assert len({caption.text for caption in captions}) == 4
    best = [captions[0] for captions in lists]
    alone = list(captioner.caption(PICTURES, Beam(5, 6)))
    assert [caption.text for caption in alone] == [caption.text for caption in best]
    assert captioner(PICTURES, Beam(5, 6)) == [caption.text for caption in best]


def test_the_search_that_was_trained_with_is_asked_for_n(make: Make) -> None:
    captioner = make("search=beam", "search.max_length=6", "search.size=4")
    assert [len(captions) for captions in captioner.caption(PICTURES, n=4)] == [4, 4, 4]
    many = make("search=beam", "search.max_length=6", "search.size=4", "search.n_best=3")
    assert all(caption.text for caption in many.caption(PICTURES))
    assert [len(captions) for captions in many.caption(PICTURES, n=1)] == [1, 1, 1]


def test_each_caption_has_its_own_attention(make: Make) -> None:
    captioner = make("decoder=show_attend_tell", "decoder.attention_size=8")
    (captions,) = captioner.caption(NOISE, Beam(3, 5), attention=True, n=3)
    features = captioner.encoder(captioner.encoder.transform(NOISE).unsqueeze(0))
    for caption in captions:
        assert caption.attention is not None
        words = caption.text.split()
        assert caption.attention.shape == (len(words), 8, 8)
        state = captioner.decoder.start(features)  # led through these very words by hand
        for word, weights in zip(captioner.vocabulary.encode(words), caption.attention, strict=False):
            _, state = captioner.decoder.step(torch.tensor([[word]]), state)
            attention = state.sequence["attention"][0, 0].detach().view(8, 8)
            np.testing.assert_allclose(weights, attention, rtol=1e-3, atol=1e-7)
    assert len({caption.text for caption in captions}) == 3


def test_samples_go_on_where_the_last_ones_ended(make: Make) -> None:
    captioner, search = make("decoder=show_tell"), Sample(6, temperature=3.0, seed=1)
    first, second = (list(captioner.caption(PICTURES, search, n=5)) for _ in range(2))
    assert [len(captions) for captions in first] == [5, 5, 5]
    assert first != second
    assert first == list(captioner.caption(PICTURES, Sample(6, temperature=3.0, seed=1), n=5))
    assert all(sorted(captions, key=lambda caption: -caption.score) == captions for captions in first)
    assert search.samples == 1  # what was handed in stays


def test_fewer_where_there_are_no_more(make: Make) -> None:
    captioner = make(words=("red",))
    (captions,) = captioner.caption(PICTURES[0], Beam(5, 2), n=5)
    assert {caption.text for caption in captions} == {"", "red", "red red"}
    assert all(np.isfinite(caption.score) for caption in captions)


class One(Search):
    """A search of somebody's own, for one caption."""

    def search(self, decoder: ConditionalModel, features: Features, attention: bool) -> Captions:
        return Greedy(self.max_length).search(decoder, features, attention)


@pytest.mark.parametrize(
    ("search", "n", "said"),
    [
        (Greedy(4), 3, r"greedy search finds one\. Take beam search of a width of 3 or more \(--beam 3\), or --sample"),
        (Beam(2, 4), 3, r"beam search of width 2 finds 1 to 2\. Take a width of 3 or more \(--beam 3"),
        (Greedy(4), 0, "0 captions"),
        (Beam(2, 4), 0, "0 captions"),
        (Sample(4), 0, "0 captions"),
        (One(4), 2, r"2 captions of each photograph: One finds 1\."),
        (One(4), 0, "0 captions"),
    ],
)
def test_more_than_a_search_finds_is_a_sentence(make: Make, search: Search, n: int, said: str) -> None:
    with pytest.raises(CaptioningError, match=said):
        list(make().caption(PICTURES, search, n=n))


def test_a_picture_with_fewer_regions_has_smaller_maps(make: Make) -> None:
    """Whatever the others of its batch have."""
    captioner = make("decoder=show_attend_tell", "decoder.attention_size=8")
    D = captioner.encoder.spec.size("grid")
    captioner.encoder.spec = FeatureSpec(["grid"], grid=(9, D))
    grid = torch.randn(2, 7, D, generator=torch.Generator().manual_seed(0))
    features = Features({"grid": torch.tensor([4, 7])}, grid=grid)
    few, many = captioner.caption_features(features, Greedy(4), attention=True)
    assert few.attention is not None and many.attention is not None
    assert few.attention.shape[1:] == (1, 4) and many.attention.shape[1:] == (1, 7)
