"""Features of photographs, states of sequences, and where they are."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from captioning.core.device import find_device
from captioning.core.errors import CaptioningError
from captioning.core.features import Features, FeatureSpec
from captioning.core.state import State, gather

shapes = st.tuples(st.integers(1, 4), st.integers(1, 4), st.integers(1, 5), st.sampled_from([(), (3,), (2, 3)]))


@given(shapes)
def test_gather_is_indexing_by_hand(shape: tuple[int, int, int, tuple[int, ...]]) -> None:
    B, S, kept, rest = shape
    values, parents = torch.rand(B, S, *rest), torch.randint(S, (B, kept))
    found = gather(values, parents)
    assert found.shape == (B, kept, *rest)
    for b in range(B):
        for s in range(kept):
            assert torch.equal(found[b, s], values[b, parents[b, s]])


def test_reordering_moves_the_sequences_and_not_the_images() -> None:
    state = State({"keys": torch.rand(2, 5)}, {"hidden": torch.rand(2, 3, 4), "word": torch.arange(6).view(2, 3)})
    moved = state.reorder(torch.tensor([[2, 2], [0, 1]]))
    assert moved.image["keys"] is state.image["keys"]
    assert moved.sequence["word"].tolist() == [[2, 2], [3, 4]]
    assert torch.equal(moved.sequence["hidden"][0, 1], state.sequence["hidden"][0, 2])


def test_selecting_takes_both_parts() -> None:
    state = State({"keys": torch.arange(3)}, {"word": torch.arange(6).view(3, 2)})
    for images in (torch.tensor([0, 2]), torch.tensor([True, False, True])):
        kept = state.select(images)
        assert kept.image["keys"].tolist() == [0, 2]
        assert kept.sequence["word"].tolist() == [[0, 1], [4, 5]]


def test_features_with_and_without_parts() -> None:
    both = Features(pooled=torch.rand(3, 2), grid=torch.rand(3, 4, 5))
    assert (both.images, Features(grid=both["grid"]).images, Features().images) == (3, 3, 0)
    some = both.select(torch.tensor([2, 0]))
    assert torch.equal(some["grid"], both["grid"][[2, 0]]) and torch.equal(some["pooled"], both["pooled"][[2, 0]])
    half = Features(pooled=both["pooled"]).to(dtype=torch.float16)
    assert "grid" not in half and half["pooled"].dtype == torch.float16
    assert both.to("meta").device.type == "meta" and Features().device.type == "cpu"
    assert FeatureSpec(pooled=(2,), grid=(3, 4, 5)).regions("grid") == 12


def test_devices_by_name() -> None:
    assert find_device("cpu").type == "cpu"
    assert find_device().type == ("cuda" if torch.cuda.is_available() else "cpu")


@pytest.mark.parametrize("name", ["foo", "cuda:99", "cuda"])
def test_a_device_that_is_not_there_is_a_sentence(name: str) -> None:
    if name == "cuda" and torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(CaptioningError, match=rf"^device {name}: there is none here \(.*Take cpu"):
        find_device(name)
