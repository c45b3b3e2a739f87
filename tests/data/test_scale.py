"""From eight thousand captions to eighty thousand: a batch takes as long, and a caption as many bytes."""

import time
import tracemalloc
from collections.abc import Iterator, Sequence
from itertools import islice, product
from pathlib import Path
from string import ascii_lowercase

from captioning.core.vocabulary import SPECIAL, Vocabulary
from captioning.data.batches import BatchDataset, BatchSampler
from captioning.data.captions import TokenizedCaptions
from captioning.data.feature_files import FORMAT, GrowingRows
from captioning.data.feature_store import FeatureStore
from captioning.data.photos import Photo

WORDS = ["w" + "".join(letters) for letters in islice(product(ascii_lowercase, repeat=3), 1000)]
VOCABULARY = Vocabulary([*SPECIAL, *WORDS])
CAPTIONS = [" ".join(WORDS[10 * number : 10 * number + 10]) for number in range(100)]


class MadeUp(Sequence[Photo]):
    """Photographs with five captions of ten words, made when they are asked for."""

    def __init__(self, photos: int) -> None:
        self.photos = photos

    def __len__(self) -> int:
        return self.photos

    def __getitem__(self, number):
        return Photo(number, Path("photo.jpg"), tuple(CAPTIONS[(number + place) % 100] for place in range(5)))

    def __iter__(self) -> Iterator[Photo]:
        return map(self.__getitem__, range(self.photos))


def tokenized(photos: int) -> TokenizedCaptions:
    return TokenizedCaptions.of(MadeUp(photos), VOCABULARY, max_words=30)


def test_time_of_a_batch_stays_flat(tmp_path: Path) -> None:
    def measure(photos: int) -> float:
        """Seconds of a batch of 64 photographs, features included."""
        captions, folder = tokenized(photos), tmp_path / str(photos)
        rows = GrowingRows(folder / "pooled", (photos, 256))
        rows.begin()  # zeros that take no disk
        rows.finish({"format": FORMAT})
        batches = BatchDataset(captions, 5, features=FeatureStore(folder, ("pooled",)).__getitem__)
        seconds = []
        for draw in islice(BatchSampler(captions.photos, 64, shuffle=True), 20):
            began = time.thread_time()
            batch = batches[draw]
            seconds.append(time.thread_time() - began)
            assert len(batch.targets) == 64 * 5 * 11
        return min(seconds)

    assert measure(16_000) < 1.5 * measure(1_600)


def test_memory_of_a_caption_stays_flat() -> None:
    def measure(photos: int) -> float:
        """The most bytes that a caption took while all were read; of a tenth, since counting them takes long."""
        tracemalloc.start()
        captions = tokenized(photos)
        order = BatchSampler(captions.photos, 64, shuffle=True)
        next(iter(order))
        peak = tracemalloc.get_traced_memory()[1] / len(captions)
        tracemalloc.stop()
        return peak

    tokenized(16)  # what the tokenizer remembers of words
    large = measure(1_600)
    assert large < 1.2 * measure(160)
    assert large < 150  # 48 for its twelve words, 8 and 2 for places, and what growing arrays copy
