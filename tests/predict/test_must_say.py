"""Words that a captioner must say: for all pictures, and for each."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from PIL import Image

from captioning.core.errors import CaptioningError
from captioning.core.vocabulary import END
from captioning.predict.captioner import Captioner
from captioning.search import Beam, Greedy, Sample

Make = Callable[..., Captioner]
PICTURES = [Image.new("RGB", (40, 30), colour) for colour in ("red", "white", "blue")]


@pytest.mark.parametrize("search", [Greedy(7), Beam(3, 7)], ids=str)
def test_all_captions_say_the_words(make: Make, search: Greedy | Beam) -> None:
    captioner = make("decoder=show_tell")
    free = [caption.text for caption in captioner.caption(PICTURES, search)]
    said = list(captioner.caption(PICTURES, search, batch_size=2, must_say=["Star", "box|grass"]))
    assert not all("star" in text.split() for text in free)
    for caption in said:
        words = caption.text.split()
        assert "star" in words and {"box", "grass"} & set(words)
    assert [caption.text for caption in captioner.caption(PICTURES, search, must_say=())] == free


def test_each_picture_says_its_own_words_in_any_batches(make: Make) -> None:
    captioner, lists = make("decoder=show_attend_tell", "decoder.attention_size=8"), [["star"], [], ["on the grass"]]
    search = Beam(3, 7)
    found = list(captioner.caption(PICTURES, search, batch_size=2, must_say=lists, n=2, attention=True))
    for picture, words, captions in zip(PICTURES, lists, found, strict=True):
        (alone,) = captioner.caption(picture, search, must_say=words, n=2, attention=True)
        assert [each.text for each in captions] == [each.text for each in alone]
        for one, other in zip(captions, alone, strict=True):
            assert one.attention is not None and other.attention is not None
            np.testing.assert_allclose(one.attention, other.attention, atol=1e-5)
        assert all(f" {word} " in f" {each.text} " for word in words for each in captions)


def test_the_search_of_the_configuration_says_its_words(make: Make) -> None:
    captioner = make("search=constrained_beam", "search.must_say=[star]", "search.max_length=6")
    assert all("star" in text.split() for text in captioner(PICTURES))


def test_an_ensemble_says_them_too(make: Make) -> None:
    together = Captioner.combine([make("decoder=show_tell"), make("decoder=neuraltalk", seed=1)])
    assert all("star" in caption.text.split() for caption in together.caption(PICTURES, Beam(2, 6), must_say=["star"]))


@pytest.mark.parametrize(
    ("must_say", "search", "said"),
    [
        (["zebra"], Beam(2, 6), "vocabulary has no word 'zebra'"),
        ([["star"], ["zebra"], []], Beam(2, 6), "vocabulary has no word 'zebra'"),
        ([["star"]] * 2, Beam(2, 6), "2 lists of words for 3 images"),
        ([["star"]] * 4, Beam(2, 6), "4 lists of words for 3 images"),
        (["star"], Sample(6), "Sample can't be made to say given words"),
    ],
)
def test_what_can_t_be_said_is_a_sentence(make: Make, must_say: list[str], search: Beam, said: str) -> None:
    with pytest.raises(CaptioningError, match=said):
        list(make().caption(PICTURES, search, must_say=must_say))


def test_no_bad_endings_by_the_captioner_s_own_words(make: Make) -> None:
    words = ("a", "red", "the", "on")
    captioner, found = make("decoder=show_tell", words=words), []
    with torch.no_grad():
        captioner.decoder.word_layer.bias[END] = 2.0
    for remove in (False, True):
        search = Beam(4, 9, remove_bad_endings=remove)
        found.append([each.text.split() for captions in captioner.caption(PICTURES, search, n=4) for each in captions])
    assert any(caption[-1:] != ["red"] for caption in found[0] if len(caption) < 9)
    assert all(caption[-1:] in ([], ["red"]) for caption in found[1] if len(caption) < 9)
