"""Batches of eight million captions against batches of eight thousand: made-up captions, features of a sparse file."""

import os
from collections.abc import Callable
from itertools import cycle, islice
from pathlib import Path

import pytest

from captioning.data.batches import BatchSampler, CaptionDataset
from captioning.data.feature_store import FeatureStore

BATCH, BATCHES = 64, 100


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.slow
def test_eight_million_captions(race, made_up, store_of_zeros, tmp_path: Path) -> None:
    bytes_of_a_caption = {}

    def epoch(photos: int) -> Callable[[], None]:
        """What takes 100 random batches of so many photographs."""
        before = resident()
        captions = made_up(photos)
        store_of_zeros(tmp_path / str(photos) / "pooled", photos, 2048)
        store = FeatureStore(tmp_path / str(photos), ("pooled",))
        batches = CaptionDataset(captions, 5, features=store.__getitem__)
        draws = list(islice(BatchSampler(captions.photos, BATCH, shuffle=True), min(BATCHES, photos // BATCH)))
        bytes_of_a_caption[photos] = (resident() - before) / len(captions)

        def run() -> None:
            for _, draw in zip(range(BATCHES), cycle(draws), strict=False):
                batches[draw]

        return run

    few, many = epoch(1_600), epoch(1_600_000)
    race(
        "batches out of 8,000,000 captions",
        many,
        few,
        count=BATCH * BATCHES * 5,
        unit="captions",
        against="out of 8,000",
        at_least=0.8,
    )
    assert bytes_of_a_caption[1_600_000] < 150  # 48 for its twelve words; what growing arrays copied stays with us
