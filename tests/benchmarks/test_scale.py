"""Millions of captions, and COCO's size rehearsed: made-up captions, features of a sparse file."""

import os
import time
from collections.abc import Callable, Iterable
from itertools import cycle, islice
from pathlib import Path

import pytest
import torch
from torch.utils.data import DataLoader

from captioning.cells import LSTM
from captioning.core.features import Features, FeatureSpec
from captioning.core.vocabulary import SPECIAL, Vocabulary
from captioning.data.batches import Batch, BatchSampler, CaptionDataset, Draw
from captioning.data.feature_store import FeatureStore
from captioning.decoders import ShowAttendTell
from captioning.metrics import score_captions
from captioning.search import Beam
from captioning.speed import make_fast
from captioning.training.objectives import CrossEntropy

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


STEPS, ROUNDS, VALIDATED = 8, 3, 5_000
COCO = 123_287  # photographs of train2017 and val2017, five captions each


@pytest.fixture
def coco(made_up, store_of_zeros, tmp_path: Path, device: torch.device) -> tuple[CaptionDataset, ShowAttendTell]:
    """The batches and the captioner of experiment=coco_show_attend_tell, with features in a sparse file of 25 GB."""
    store_of_zeros(tmp_path / "grid", COCO, 49, 2048)
    store = FeatureStore(tmp_path, ("grid",))
    torch.manual_seed(0)
    decoder = make_fast(ShowAttendTell(10_000, FeatureSpec(grid=(7, 7, 2048)), LSTM)).to(device)
    return CaptionDataset(made_up(COCO), 5, features=store.__getitem__), decoder


@pytest.mark.slow
def test_an_epoch_of_coco_rehearsed(race, coco, device: torch.device) -> None:
    """Some steps of cross-entropy in bfloat16 from the store, with a worker process, against batches in memory."""
    captions, decoder = coco
    optimizer, objective = torch.optim.Adam(decoder.parameters(), fused=True), CrossEntropy(label_smoothing=0.1)
    draws = list(islice(BatchSampler(range(COCO), 50, shuffle=True), STEPS * (ROUNDS + 1)))
    ready = [captions[draw] for draw in draws[:STEPS]]
    peak = 0.0

    def learn(batches: Iterable[Batch]) -> None:
        nonlocal peak
        for number, batch in enumerate(batches):
            batch = batch.to(device, non_blocking=True)
            with torch.autocast(device.type, torch.bfloat16):
                sums = objective(decoder, batch.features.to(dtype=torch.float), batch, step=number)
                loss = torch.stack([each.mean for each in sums.values() if each.trained]).sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            peak = max(peak, resident() / 1e9)

    on_gpu = device.type == "cuda"
    loader = iter(DataLoader(captions, sampler=draws, batch_size=None, num_workers=1, pin_memory=on_gpu))

    race(
        f"training ShowAttendTell, {COCO:,} photographs in a store, bfloat16",
        lambda: learn(islice(loader, STEPS)),
        lambda: learn(ready),
        count=STEPS * 250,
        unit="captions",
        against="batches in memory",
        at_least=0.95,
        rounds=ROUNDS,
    )
    assert peak < 2, f"{peak:.2f} GB"


@pytest.mark.slow
def test_a_validation_of_coco_rehearsed(report, coco, device: torch.device) -> None:
    """5,000 photographs from the store, beam 5 and the scores, against the search of features in memory."""
    captions, decoder = coco
    decoder.eval()
    search, words = Beam(5), Vocabulary([*SPECIAL, *(f"w{number}" for number in range(10_000))])
    texts = [" ".join(words.words[first : first + 10]) for first in range(4, 9_004)]
    references = [texts[number : number + 5] for number in range(VALIDATED)]

    def find(features: Features) -> list[str]:
        found = search(decoder, features.to(device, torch.float))
        return [words.decode(caption) for caption in found.tokens[:, 0].tolist()]

    held = captions[Draw(range(64), (0, 0))].features
    find(held)
    began = time.perf_counter()
    for _ in range(5):
        find(held)
    alone = 5 * 64 / (time.perf_counter() - began)
    began, said = time.perf_counter(), []
    for first in range(0, VALIDATED, 64):
        said += find(captions[Draw(range(first, min(first + 64, VALIDATED)), (0, 0))].features)
    scores = score_captions(said, references)
    report(
        f"validation of {VALIDATED:,} photographs in a store: beam 5 and scores",
        VALIDATED / (time.perf_counter() - began),
        "photographs",
        alone,
        "search alone",
        at_least=0.95,
    )
    assert scores.keys() >= {"BLEU-4", "CIDEr"}
