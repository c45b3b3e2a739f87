"""Features of photographs, states of sequences, and where they are."""

import json
import pickle

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from captioning.core.device import find_device
from captioning.core.errors import CaptioningError
from captioning.core.features import Features, FeatureSpec, check_part_name
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


@st.composite
def ragged(draw: st.DrawFn) -> Features:
    """Features of a varying, a fixed and a single part; NaN where nothing is."""
    B, L = draw(st.integers(1, 4)), draw(st.integers(1, 5))
    lengths = torch.tensor(draw(st.lists(st.integers(1, L), min_size=B, max_size=B)))
    objects = torch.rand(B, L, 3, generator=torch.Generator().manual_seed(draw(st.integers(0, 99))))
    objects[torch.arange(L) >= lengths.unsqueeze(1)] = torch.nan
    return Features({"objects": lengths}, objects=objects, grid=torch.rand(B, 2, 3), pooled=torch.rand(B, 4))


@given(ragged())
def test_mask_and_mean_are_those_of_each_photograph_alone(features: Features) -> None:
    mask, mean = features.mask("objects"), features.mean("objects")
    assert mask is not None and features.mask("grid") is None
    for image, length in enumerate(features.lengths["objects"].tolist()):
        regions = features["objects"][image, :length]
        assert mask[image].tolist() == [place < length for place in range(mask.shape[1])]
        assert torch.allclose(mean[image], regions.mean(0))
    assert torch.equal(features.mean("grid"), features["grid"].mean(1))
    assert torch.equal(features.mean("pooled"), features["pooled"])


@given(ragged(), st.data())
def test_selected_moved_mapped_and_pickled_features_keep_parts_and_lengths(
    features: Features, data: st.DataObject
) -> None:
    images = torch.tensor(data.draw(st.lists(st.integers(0, features.images - 1), min_size=1, max_size=6)))
    some = features.select(images)
    assert some.images == len(images) and list(some) == list(features)
    assert torch.equal(some.lengths["objects"], features.lengths["objects"][images])
    assert torch.equal(some.mean("objects"), features.mean("objects")[images])
    kept = torch.rand(features.images) < 0.5
    assert features.select(kept).lengths["objects"].tolist() == features.lengths["objects"][kept].tolist()
    half = features.to(dtype=torch.float16)
    assert {part.dtype for part in half.values()} == {torch.float16}
    assert half.lengths["objects"].dtype == features.lengths["objects"].dtype
    assert features.to("meta").lengths["objects"].is_meta
    twice = features.map(lambda part: 2 * part)
    assert torch.equal(twice.mean("objects"), 2 * features.mean("objects"))
    again = pickle.loads(pickle.dumps(features))
    assert torch.equal(again.lengths["objects"], features.lengths["objects"]) and list(again) == list(features)


def test_lengths_of_what_has_no_regions_are_refused() -> None:
    for parts in ({"pooled": torch.rand(2, 3)}, {}):
        with pytest.raises(ValueError, match="lengths of 'pooled'"):
            Features({"pooled": torch.tensor([1, 1])}, **parts)


sizes = st.integers(1, 9)
parts = st.one_of(st.tuples(sizes), st.tuples(sizes, sizes), st.tuples(sizes, sizes, sizes))


@given(st.dictionaries(st.sampled_from(["pooled", "grid", "objects", "words"]), parts, min_size=1), st.data())
def test_a_spec_is_of_the_features_it_describes(shapes: dict[str, tuple[int, ...]], data: st.DataObject) -> None:
    regions = [part for part, shape in shapes.items() if len(shape) == 2]
    varying = data.draw(st.sets(st.sampled_from(regions))) if regions else set()
    spec = FeatureSpec(varying, **shapes)
    for part, shape in shapes.items():
        rows, columns = spec.layout(part)
        assert rows * columns == spec.regions(part) and spec.size(part) == shape[-1]
        stored = spec.stored(part)
        assert len(stored) == min(len(shape), 2) and torch.Size(stored).numel() == torch.Size(shape).numel()
    assert spec == FeatureSpec(list(varying), **dict(reversed(shapes.items()))) and hash(spec) == hash(spec)
    written = json.loads(json.dumps(spec.to_json()))
    for other in (FeatureSpec(regions, **shapes), FeatureSpec(**shapes), FeatureSpec(varying, **shapes, more=(1,))):
        assert (other == spec) == (json.loads(json.dumps(other.to_json())) == written)
    assert eval(repr(spec)) == spec


def test_the_two_parts_of_earlier_versions_are_written_as_they_were() -> None:
    assert FeatureSpec(pooled=(5,), grid=(2, 3, 7)).to_json() == [5, 7, 2, 3]
    assert FeatureSpec(["grid"], pooled=(5,), grid=(6, 7)).to_json() == {"pooled": [5], "grid": [6, 7, "varying"]}


@pytest.mark.parametrize(
    ("varying", "shapes", "sentence"),
    [
        ([], {"grid": ()}, r"'grid' .* has the shape \(\)"),
        ([], {"grid": (2, 0)}, r"'grid' .* has the shape \(2, 0\)"),
        ([], {"grid": (1, 2, 3, 4)}, r"all positive"),
        (["grid"], {"grid": (2, 2, 3)}, r"'grid' .* different number .* Give it the shape \(L, D\)"),
        (["grid"], {"pooled": (2,)}, r"its shape is None"),
    ],
)
def test_a_spec_that_describes_nothing_is_a_sentence(varying: list[str], shapes: dict, sentence: str) -> None:
    with pytest.raises(CaptioningError, match=sentence):
        FeatureSpec(varying, **shapes)


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a.b", "größe", "a b", "a\n", "a" * 101])
def test_names_that_are_no_folders_are_refused(name: str) -> None:
    with pytest.raises(CaptioningError, match="Take letters"):
        check_part_name(name)
    check_part_name("Objects_2-small")


def test_devices_by_name() -> None:
    assert find_device("cpu").type == "cpu"
    assert find_device().type == ("cuda" if torch.cuda.is_available() else "cpu")


@pytest.mark.parametrize("name", ["foo", "cuda:99", "cuda"])
def test_a_device_that_is_not_there_is_a_sentence(name: str) -> None:
    if name == "cuda" and torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(CaptioningError, match=rf"^device {name}: there is none here \(.*Take cpu"):
        find_device(name)
