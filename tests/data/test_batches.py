"""What a batch holds, which photographs, and in which order."""

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from captioning.core.features import Features
from captioning.core.vocabulary import END, PAD, SPECIAL, START, Vocabulary
from captioning.data.batches import BatchSampler, CaptionDataset, Draw
from captioning.data.captions import TokenizedCaptions
from captioning.data.photos import Photo

numbers = st.integers(1, 23)


def batches(photos: int, size: int, **options) -> list[list[int]]:
    return [list(draw.photos) for draw in BatchSampler(range(photos), size, **options)]


@given(numbers, st.integers(1, 5), st.integers(0, 3), st.integers(0, 3))
def test_every_photograph_once_an_epoch_in_a_new_order(photos: int, size: int, seed: int, epoch: int) -> None:
    options = {"seed": seed, "shuffle": True, "position": lambda: (epoch, 0)}
    found = batches(photos, size, **options)
    assert len(found) == len(BatchSampler(range(photos), size, **options))
    assert all(len(batch) == size for batch in found[:-1]) and 0 < len(found[-1]) <= size
    assert sorted(place for batch in found for place in batch) == list(range(photos))
    assert found == batches(photos, size, **options)


def test_the_order_depends_on_seed_and_epoch() -> None:
    orders = [
        batches(50, 7, seed=seed, shuffle=True, position=lambda epoch=epoch: (epoch, 0))
        for seed in range(3)
        for epoch in range(3)
    ]
    assert all(left != right for n, left in enumerate(orders) for right in orders[:n])
    assert batches(10, 4) == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]


@given(numbers, st.integers(1, 4), st.integers(1, 4), st.booleans())
def test_ranks_share_out_what_one_process_would_see(photos: int, size: int, ranks: int, shuffle: bool) -> None:
    options = {"seed": 1, "shuffle": shuffle, "position": lambda: (2, 0)}
    samplers = [BatchSampler(range(photos), size, rank=rank, ranks=ranks, **options) for rank in range(ranks)]
    shares = [[list(draw.photos) for draw in sampler] for sampler in samplers]
    assert [len(share) for share in shares] == [len(sampler) for sampler in samplers]
    assert all(batch for share in shares for batch in share), "a rank with an empty batch"
    if shuffle:
        assert len({len(share) for share in shares}) == 1  # each step of the optimizer needs all ranks
    whole = batches(photos, size * ranks, **options)
    for number, together in enumerate(whole):
        parts = [place for share in shares for place in (share[number] if number < len(share) else [])]
        if not shuffle or len(together) >= ranks:
            assert sorted(parts) == sorted(together)
        else:
            assert parts == []  # fewer photographs than ranks


def test_captions_are_drawn_anew_in_every_epoch_and_for_every_seed() -> None:
    seeds = [
        {draw.seed for draw in BatchSampler(range(12), 2, seed=seed, position=lambda epoch=epoch: (epoch, 0))}
        for seed in range(2)
        for epoch in range(3)
    ]
    assert all(len(each) == 1 for each in seeds)
    assert len(set.union(*seeds)) == len(seeds)


@given(numbers, st.integers(1, 5), st.integers(0, 9))
def test_goes_on_where_it_was_interrupted(photos: int, size: int, done: int) -> None:
    def draws(position: tuple[int, int]) -> list[Draw]:
        return list(BatchSampler(range(photos), size, seed=3, shuffle=True, position=lambda: position))

    assert draws((1, done)) == draws((1, 0))[done:]


WORDS = ("a", "b", "c", "d", "e")
VOCABULARY = Vocabulary([*SPECIAL, *WORDS])
CAPTIONS = [["a b"], ["b", "b c d", "c"], ["d e", "e e", "e d a", "a", "c c"], ["unheard"]]


@pytest.fixture
def tokenized() -> TokenizedCaptions:
    photos = [Photo(n, Path(f"{n}.jpg"), tuple(each)) for n, each in enumerate(CAPTIONS)]
    return TokenizedCaptions.of(photos, VOCABULARY, 20)


def pooled(places: list[int]) -> Features:
    return Features(pooled=torch.tensor(places).unsqueeze(1).float())


def said(tokens: torch.Tensor) -> list[list[str]]:
    """The captions of each photograph of ``(B, S, T)``."""
    return [[VOCABULARY.decode(row.tolist()) for row in image if row.any()] for image in tokens]


def test_words_go_in_and_the_next_ones_are_the_targets(tokenized: TokenizedCaptions) -> None:
    batch = CaptionDataset(tokenized, None, features=pooled)[Draw([2, 0, 3], (0,))]
    words, targets = (batch.packing.unpack(values) for values in (batch.words, batch.targets))
    assert said(targets) == [CAPTIONS[2], CAPTIONS[0], []]
    assert batch.photos.tolist() == [2, 0, 3]
    assert batch.features is not None and batch.features["pooled"].flatten().tolist() == [2, 0, 3]
    for fed, wanted in zip(words.flatten(0, 1).tolist(), targets.flatten(0, 1).tolist(), strict=True):
        length = sum(number != PAD for number in wanted)
        assert fed[:length] == [START, *wanted[: length - 1]] if length else not any(fed)
        assert not length or wanted[length - 1] == END


def test_a_draw_gives_the_same_batch_and_another_another(tokenized: TokenizedCaptions) -> None:
    dataset = CaptionDataset(tokenized, 2, features=pooled)

    def drawn(seed: int) -> list[list[str]]:
        batch = dataset[Draw([2, 1], (seed,))]
        return said(batch.packing.unpack(batch.targets))

    assert all(drawn(seed) == drawn(seed) for seed in range(5))
    many = [drawn(seed) for seed in range(60)]
    for captions in many:
        assert [len(each) for each in captions] == [2, 2]
        assert all(
            len(set(each)) == 2 and set(each) <= set(CAPTIONS[n]) for n, each in zip((2, 1), captions, strict=True)
        )
    assert {caption for captions in many for caption in captions[0]} == set(CAPTIONS[2])


def test_a_photograph_has_the_same_captions_in_whichever_batch(tokenized: TokenizedCaptions) -> None:
    dataset = CaptionDataset(tokenized, 2, features=pooled)

    def drawn(photos: list[int], seed: int) -> dict[int, list[list[int]]]:
        batch = dataset[Draw(photos, (1, seed))]
        return dict(zip(photos, said(batch.packing.unpack(batch.targets)), strict=True))

    for seed in range(20):
        together = drawn([1, 2, 0], seed)
        assert drawn([2], seed) | drawn([0, 1], seed) == together


def test_pictures_are_stacked_where_features_are_not_stored(tokenized: TokenizedCaptions) -> None:
    dataset = CaptionDataset(tokenized, 1, image=lambda place: torch.full((3, 2, 2), place, dtype=torch.uint8))
    batch = dataset[Draw([1, 2], (0,))]
    assert batch.features is None
    assert batch.images is not None and batch.images[:, 0, 0, 0].tolist() == [1, 2]
    moved = batch.to("meta")
    assert moved.images is not None
    assert {part.device.type for part in (moved.images, moved.words, moved.targets, moved.packing.rows)} == {"meta"}
