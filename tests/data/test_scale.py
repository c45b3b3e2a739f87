"""From eight thousand captions to eighty thousand: a batch takes as long, and a caption as many bytes."""

import time
import tracemalloc
from itertools import islice
from pathlib import Path

from captioning.data.batches import BatchSampler, CaptionDataset
from captioning.data.feature_store import FeatureStore


def test_time_of_a_batch_stays_flat(made_up, store_of_zeros, tmp_path: Path) -> None:
    def measure(photos: int) -> float:
        """Seconds of a batch of 64 photographs, features included."""
        captions, folder = made_up(photos), tmp_path / str(photos)
        store_of_zeros(folder / "pooled", photos, 256)
        store = FeatureStore(folder, ("pooled",))
        assert store[range(photos)].images == photos  # the file is in memory, where the disk is not measured
        batches = CaptionDataset(captions, 5, features=store.__getitem__)
        seconds = []
        for draw in islice(BatchSampler(captions.photos, 64, shuffle=True), 20):
            began = time.thread_time()
            batch = batches[draw]
            seconds.append(time.thread_time() - began)
            assert len(batch.targets) == 64 * 5 * 11
        return min(seconds)

    assert measure(16_000) < 3 * measure(1_600)  # ten times, were anything of it linear; caches make some difference


def test_memory_of_a_caption_stays_flat(made_up) -> None:
    def measure(photos: int) -> float:
        """The most bytes that a caption took while all were read; of a tenth, since counting them takes long."""
        tracemalloc.start()
        captions = made_up(photos)
        order = BatchSampler(captions.photos, 64, shuffle=True)
        next(iter(order))
        peak = tracemalloc.get_traced_memory()[1] / len(captions)
        tracemalloc.stop()
        return peak

    made_up(16)  # what the tokenizer remembers of words
    large = measure(1_600)
    assert large < 1.2 * measure(160)
    assert large < 150  # 48 for its twelve words, 8 and 2 for places, and what growing arrays copy
