"""Batches of eight million captions against batches of eight thousand: made-up captions, features of a sparse file."""

import os
from collections.abc import Callable, Iterator, Sequence
from itertools import cycle, islice, product
from pathlib import Path
from string import ascii_lowercase

import pytest

from captioning.core.vocabulary import SPECIAL, Vocabulary
from captioning.data.batches import BatchDataset, BatchSampler
from captioning.data.captions import TokenizedCaptions
from captioning.data.feature_files import FORMAT, GrowingRows
from captioning.data.feature_store import FeatureStore
from captioning.data.photos import Photo

WORDS = ["w" + "".join(letters) for letters in islice(product(ascii_lowercase, repeat=3), 10_000)]
CAPTIONS = [" ".join(islice(cycle(WORDS), 7 * number, 7 * number + 10)) for number in range(1000)]
BATCH, BATCHES = 64, 100


class MadeUp(Sequence[Photo]):
    """Photographs with five captions of ten words, made when they are asked for."""

    def __init__(self, photos: int) -> None:
        self.photos = photos

    def __len__(self) -> int:
        return self.photos

    def __getitem__(self, number):
        return Photo(number, Path("photo.jpg"), tuple(CAPTIONS[(number + place) % 1000] for place in range(5)))

    def __iter__(self) -> Iterator[Photo]:
        return map(self.__getitem__, range(self.photos))


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.slow
def test_eight_million_captions(race, tmp_path: Path) -> None:
    bytes_of_a_caption = {}

    def epoch(photos: int) -> Callable[[], None]:
        """What takes 100 random batches of so many photographs."""
        before = resident()
        captions = TokenizedCaptions.of(MadeUp(photos), Vocabulary([*SPECIAL, *WORDS]), max_words=30)
        rows = GrowingRows(tmp_path / str(photos) / "pooled", (photos, 2048))
        rows.begin()  # a file full of holes: its size is real, its bytes take no disk
        rows.finish({"format": FORMAT})
        store = FeatureStore(tmp_path / str(photos), ("pooled",))
        batches = BatchDataset(captions, 5, features=store.__getitem__)
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
    assert bytes_of_a_caption[1_600_000] < 80  # 48 of them for its twelve words
