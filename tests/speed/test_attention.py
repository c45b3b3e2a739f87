"""Additive attention a few images at a time is that of all images at once."""

import pytest
import torch

from captioning.cells import LSTM
from captioning.core.features import Features, FeatureSpec
from captioning.decoders import ShowAttendTell
from captioning.search import Beam
from captioning.speed import attention, make_fast
from captioning.speed.attention import weigh, weigh_in_blocks

B, S, L, A = 5, 3, 4, 6


@pytest.fixture
def blocks(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The numbers of images of the blocks, two by two images of this size."""
    sizes: list[int] = []
    cat = torch.cat
    monkeypatch.setattr(attention, "IN_CACHE", 2 * S * L * A)
    monkeypatch.setattr(
        attention.torch, "cat", lambda parts, *args: (sizes.extend(map(len, parts)), cat(parts, *args))[1]
    )
    return sizes


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("beams", [(S,), ()], ids=["of beams", "of captions"])
def test_weights(beams: tuple[int, ...], masked: bool, blocks: list[int]) -> None:
    torch.manual_seed(0)
    images = B if beams else B * S
    keys, query, score = (
        torch.randn(images, *[1 for _ in beams], L, A),
        torch.randn(images, *beams, 1, A),
        torch.randn(1, A),
    )
    there = torch.rand(images, *[1 for _ in beams], L) < 0.7 if masked else None
    torch.testing.assert_close(weigh_in_blocks(keys, query, score, there), weigh(keys, query, score, there))
    assert blocks == ([2, 2, 1] if beams else [5, 5, 5])


def test_what_fits_or_has_another_form_is_computed_at_once(blocks: list[int]) -> None:
    keys, query, score = torch.randn(B, 1, L, A), torch.randn(B, S, 1, A), torch.randn(1, A)
    for some, of_them in ((keys[:2], query[:2]), (keys[0], query), (keys[:1], query)):
        torch.testing.assert_close(weigh_in_blocks(some, of_them, score, None), weigh(some, of_them, score, None))
    assert not blocks


def test_a_search_finds_the_same_captions(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    sizes = {"embedding_size": 8, "hidden_size": 8, "attention_size": A}
    decoder = make_fast(ShowAttendTell(11, FeatureSpec(grid=(1, L, 7)), LSTM, **sizes)).eval()
    features, search = Features(grid=torch.randn(B, L, 7)), Beam(S, max_length=5)
    expected = search(decoder, features, attention=True)
    calls: list[int] = []
    monkeypatch.setattr(attention, "IN_CACHE", 2 * S * L * A)
    monkeypatch.setattr(attention, "weigh_in_blocks", lambda *args: (calls.append(1), weigh_in_blocks(*args))[1])
    found = search(decoder, features, attention=True)
    assert calls and found.tokens.equal(expected.tokens)
    torch.testing.assert_close(found.attention, expected.attention)
