"""Packed captions are the dictionaries and lists that they stand for."""

import random
import tracemalloc
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from captioning.core.errors import CaptioningError
from captioning.core.ids import ImageId
from captioning.metrics import packed
from captioning.metrics.image_ids import Ids, missing_from
from captioning.metrics.packed import ImageCaptions, OneCaption, Texts

IDS = st.integers(-3, 3) | st.sampled_from(["1", "é", 1 << 70])
NUMBERS = st.integers(-3, 3) | st.sampled_from([-(1 << 63), (1 << 63) - 1])


@given(st.lists(st.tuples(IDS, st.text(st.characters(codec="utf-8") | st.just("\ud800"), max_size=5)), max_size=30))
def test_captions_by_image(pairs: list[tuple[ImageId, str]]) -> None:
    expected: dict[ImageId, list[str]] = {}
    for image, caption in pairs:
        expected.setdefault(image, []).append(caption)
    found = ImageCaptions.gather(pairs)
    assert found == expected and [*found] == [*expected] and [*found.values()] == [*expected.values()]
    assert [*found.sets.flat] == [*chain.from_iterable(expected.values())]
    assert found.sets.sizes.tolist() == [*map(len, expected.values())]
    assert OneCaption(found) == {image: captions[0] for image, captions in expected.items()}
    assert [*found.sets.first] == [captions[0] for captions in expected.values()]
    assert [*found.sets[1:3]] == [*expected.values()][1:3]
    turned = found.take(np.arange(len(found))[::-1])
    assert turned == expected and [*turned] == [*expected][::-1]
    twice = np.zeros(2 if found else 0, np.int64)
    assert [*found.sets.take(twice).flat] == [*chain.from_iterable([[*found.values()][row] for row in twice])]
    assert [*found.sets[1:].flat] == [*chain.from_iterable([*expected.values()][1:])]
    assert found.without([0, "1"]) == {image: each for image, each in expected.items() if image not in (0, "1")}
    assert [*Ids.of(image for image, _ in pairs)] == [*expected]
    assert "absent" not in found and 99 not in found and None not in found


@given(*[st.lists(IDS, unique=True) | st.lists(NUMBERS, unique=True)] * 2)
def test_rows_of_ids(known: list[ImageId], wanted: list[ImageId]) -> None:
    rows = [known.index(each) if each in known else -1 for each in wanted]
    missing = [each for each in wanted if each not in known]
    for images in (wanted, Ids.of(wanted)):
        assert Ids.of(known).rows_of(images).tolist() == rows
        assert missing_from(Ids.of(known), images) == missing
        assert missing_from(known, images) == missing


@pytest.mark.parametrize("held", [0, 1, 256])
def test_blocks_of_texts(held: int) -> None:
    """In memory and in a file, read while they are written, and in any order."""
    written = [f"é{number}" * (number % 3) for number in range(3 * packed._BLOCK + 5)]
    texts = Texts(held)
    for place, each in enumerate(written):
        texts.append(each)
        assert texts[place // 2] == written[place // 2]
    assert len(texts) == len(written) and [texts[place] for place in range(len(texts))] == written
    order = random.Random(0).sample(range(len(written)), len(written))
    assert [texts[place] for place in order] == [written[place] for place in order]


def test_no_room_for_the_file_gets_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = Texts(0)
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("there is no /dev/full")
    monkeypatch.setattr(packed, "TemporaryFile", lambda: full.open("r+b", buffering=0))
    with pytest.raises(CaptioningError, match="the disk is full"):
        for _ in range(packed._BLOCK):
            texts.append("a caption")


def test_a_caption_takes_some_bytes() -> None:
    def captions(count: int) -> Iterator[tuple[int, str]]:
        for number in range(count):
            yield number, f"a caption of some sixty letters, as they are in COCO: {number:6d}"

    def held(count: int) -> tuple[int, int]:
        tracemalloc.start()
        try:
            found = ImageCaptions.gather(captions(count))
            assert len(found) == count
            return tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()

    (few, least), (many, most) = held(5_000), held(25_000)
    assert (many - few) / 20_000 < 60 + 50
    assert (most - least) / 20_000 < 60 + 90
