"""The feature store: what is stored equals what is live, whatever interrupts the extraction or changes the pictures."""

import errno
import multiprocessing
import os
import pickle
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader

from captioning.core.errors import CaptioningError
from captioning.core.features import Features, FeatureSpec
from captioning.core.images import ImageTransform
from captioning.data import extraction, feature_store
from captioning.data.feature_files import GrowingRows
from captioning.data.feature_store import FeatureStore

ROOT = Path(__file__).resolve().parents[2]
SPEC = FeatureSpec(pooled=3, grid=3, shape=(2, 2))
TRANSFORM = ImageTransform((8, 8))
N = 11


def live(images: Tensor) -> Features:
    """A small encoder: the mean colour, of the picture and of its quarters."""
    maps = torch.nn.functional.avg_pool2d(images.float() / 255, 4)  # (B, 3, 2, 2)
    return Features(pooled=maps.mean((2, 3)), grid=maps.flatten(2).transpose(1, 2))


class Counting:
    """``live``, counting the photographs it is given, and failing after some of them."""

    def __init__(self, fail_after: int | None = None) -> None:
        self.photographs, self.fail_after = 0, fail_after

    def __call__(self, images: Tensor) -> Features:
        if self.fail_after is not None and self.photographs >= self.fail_after:
            raise KeyboardInterrupt
        self.photographs += len(images)
        return live(images)


def draw(path: Path, seed: int) -> None:
    """Uncompressed, so that two pictures have the same size in bytes."""
    pixels = np.random.default_rng(seed).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


@pytest.fixture
def pictures(tmp_path: Path) -> list[Path]:
    folder = tmp_path / "pictures"
    folder.mkdir()
    paths = [folder / f"{number}.bmp" for number in range(N)]
    for number, path in enumerate(paths):
        draw(path, number)
    return paths


def build(root: Path, paths: Sequence[Path], extract: Callable[[Tensor], Features] = live, **options) -> FeatureStore:
    options = {"key": {"encoder": "e"}, "spec": SPEC, "transform": TRANSFORM, "batch_size": 2, "workers": 0, **options}
    return FeatureStore.build(root, paths=paths, extractor=lambda: extract, **options)


def expected(paths: Sequence[Path]) -> Features:
    return live(torch.stack([TRANSFORM.read(path) for path in paths])).to(dtype=torch.float16)


def holds(store: FeatureStore, paths: Sequence[Path]) -> bool:
    stored, wanted = store[range(len(paths))], expected(paths)
    return (
        len(store) == len(paths) and torch.equal(stored.pooled, wanted.pooled) and torch.equal(stored.grid, wanted.grid)
    )


@pytest.mark.parametrize("workers", [0, 2])
def test_stored_features_are_the_live_ones(workers: int, tmp_path: Path, pictures: list[Path]) -> None:
    store = build(tmp_path / "store", pictures, workers=workers)
    assert holds(store, pictures)
    mapped = np.load(store.folder / "grid" / "features.npy", mmap_mode="r")
    assert mapped.shape == (N, 4, 3) and np.array_equal(mapped, expected(pictures).grid.numpy())


def test_a_gpu_belongs_to_the_calling_process(tmp_path: Path, pictures: list[Path]) -> None:
    """On the CPU the worker processes encode, so that nothing is counted here."""
    gpu, cpu = Counting(), Counting()
    assert holds(build(tmp_path / "gpu", pictures, gpu, workers=2, device=torch.device("mps")), pictures)
    assert holds(build(tmp_path / "cpu", pictures, cpu, workers=2), pictures)
    assert (gpu.photographs, cpu.photographs) == (N, 0)


def test_an_encoder_s_cached_features_equal_its_live_ones(tmp_path: Path, pictures: list[Path]) -> None:
    from captioning.encoders.efficientnet import EfficientNetLite0

    encoder = EfficientNetLite0(image_size=64)
    store = build(tmp_path, pictures, encoder.fused(), spec=encoder.spec, transform=encoder.transform, workers=1)
    features = encoder(torch.stack([encoder.transform.read(path) for path in pictures]))
    stored = store[range(N)].to(dtype=torch.float32)
    assert (stored.pooled - features.pooled).abs().max() < 2e-3  # values up to 6, eleven bits
    assert (stored.grid - features.grid).abs().max() < 4e-3


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(st.integers(0, N - 1), max_size=20))
def test_any_rows_in_any_order(rows: list[int], tmp_path: Path, pictures: list[Path]) -> None:
    store = build(tmp_path / "store", pictures)
    wanted = expected(pictures)
    for features in (store[rows], store[torch.tensor(rows, dtype=torch.long)]):
        assert torch.equal(features.pooled, wanted.pooled[rows]) and torch.equal(features.grid, wanted.grid[rows])


def test_rows_that_do_not_exist_are_refused(tmp_path: Path, pictures: list[Path]) -> None:
    store = build(tmp_path / "store", pictures)
    for row in (-1, N):
        with pytest.raises(IndexError):
            store[[row]]


def test_a_complete_store_is_not_computed_again(tmp_path: Path, pictures: list[Path]) -> None:
    build(tmp_path / "store", pictures)
    again = Counting()
    assert holds(build(tmp_path / "store", pictures, again), pictures) and again.photographs == 0


def test_moved_pictures_keep_their_features(
    tmp_path: Path, pictures: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    build(tmp_path / "store", pictures)
    moved = [Path(shutil.copy(path, tmp_path / path.name)) for path in pictures]  # new times, same bytes
    again = Counting()
    assert holds(build(tmp_path / "store", moved, again), pictures) and again.photographs == 0
    monkeypatch.setattr(feature_store, "digest_of", pytest.fail)  # the new times were noted: nothing is read again
    assert holds(build(tmp_path / "store", moved, again), pictures) and again.photographs == 0


def test_a_changed_picture_alone_is_computed_again(tmp_path: Path, pictures: list[Path]) -> None:
    old = build(tmp_path / "store", pictures)
    draw(pictures[4], seed=99)
    again = Counting()
    store = build(tmp_path / "store", pictures, again)
    assert store.folder == old.folder and again.photographs == 1 and holds(store, pictures)


@pytest.mark.parametrize(
    "change",
    [
        {"key": {"encoder": "other"}},
        {"transform": ImageTransform((8, 8), "crop")},
        {"paths": slice(1, None)},
        {"paths": slice(None, None, -1)},
    ],
)
def test_another_encoder_transform_or_list_is_another_store(change: dict, tmp_path: Path, pictures: list[Path]) -> None:
    first = build(tmp_path / "store", pictures)
    paths = pictures[change.pop("paths", slice(None))]
    store = build(tmp_path / "store", paths, **change)
    assert store.folder != first.folder and holds(store, paths)


def test_a_part_is_added_without_computing_the_other_again(tmp_path: Path, pictures: list[Path]) -> None:
    pooled = build(tmp_path / "store", pictures, parts=("pooled",))
    assert pooled[[0]].grid is None and not (pooled.folder / "grid").exists()
    before = (pooled.folder / "pooled" / "features.npy").stat().st_mtime_ns
    store = build(tmp_path / "store", pictures)
    assert store.folder == pooled.folder and holds(store, pictures)
    assert (store.folder / "pooled" / "features.npy").stat().st_mtime_ns == before


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(stops=st.lists(st.integers(0, N), max_size=4))
def test_an_interrupted_extraction_goes_on(stops: list[int], tmp_path_factory, pictures: list[Path]) -> None:
    root = tmp_path_factory.mktemp("store")
    left = N
    for stop in stops:
        part = Counting(fail_after=stop)
        try:
            build(root, pictures, part)
        except KeyboardInterrupt:
            (folder,) = root.iterdir()
            with pytest.raises(CaptioningError, match="no such complete store"):
                FeatureStore(folder)
        left -= part.photographs
    last = Counting()
    assert holds(build(root, pictures, last), pictures) and last.photographs == left


def test_kill_minus_nine_loses_only_what_was_not_safe(tmp_path: Path, pictures: list[Path]) -> None:
    code = f"""
import os, runpy
test = runpy.run_path({str(Path(__file__))!r})
from pathlib import Path
from captioning.data import extraction
extraction.COMMIT_SECONDS, extraction.AHEAD = 0, 0
counting = test["Counting"]()
def extract(images):
    if counting.photographs == 6:
        os.kill(os.getpid(), 9)
    return counting(images)
paths = [Path({str(pictures[0].parent)!r}) / f"{{number}}.bmp" for number in range(test["N"])]
test["build"](Path({str(tmp_path / "store")!r}), paths, extract)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    (folder,) = (tmp_path / "store").iterdir()
    with pytest.raises(CaptioningError, match="no such complete store"):
        FeatureStore(folder)
    rest = Counting()
    assert holds(build(tmp_path / "store", pictures, rest), pictures)
    assert rest.photographs == N - 6


def test_bad_pictures_are_all_named_and_the_rest_is_kept(tmp_path: Path, pictures: list[Path]) -> None:
    pictures[3].write_bytes(b"no picture")
    pictures[9].write_bytes(pictures[9].read_bytes()[:200])
    with pytest.raises(CaptioningError) as caught:
        build(tmp_path / "store", pictures, batch_size=4)
    message = str(caught.value)
    assert message.startswith("2 pictures") and str(pictures[3]) in message and str(pictures[9]) in message
    assert "Mend them" in message
    draw(pictures[3], 3), draw(pictures[9], 9)
    again = Counting()
    assert holds(build(tmp_path / "store", pictures, again), pictures) and again.photographs == 2


def test_missing_pictures_are_named_before_anything_is_computed(tmp_path: Path, pictures: list[Path]) -> None:
    pictures[5].unlink()
    counting = Counting()
    with pytest.raises(CaptioningError, match=r"5\.bmp"):
        build(tmp_path / "store", pictures, counting)
    assert counting.photographs == 0


def test_a_disk_that_is_too_small_is_refused_at_once(
    tmp_path: Path, pictures: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10, 9, 1))
    counting = Counting()
    with pytest.raises(CaptioningError, match=r"need .* GB and the disk has .* free"):
        build(tmp_path / "store", pictures, counting)
    assert counting.photographs == 0


def test_a_disk_that_fills_up_leaves_nothing_wrong(
    tmp_path: Path, pictures: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch, pytest.raises(CaptioningError, match="the disk is full"):
        patch.setattr(os, "fsync", full)
        build(tmp_path / "store", pictures)
    again = Counting()
    assert holds(build(tmp_path / "store", pictures, again), pictures) and again.photographs == N


def test_a_file_cut_short_by_copying_is_not_read(
    tmp_path: Path, pictures: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = build(tmp_path / "store", pictures)
    path = store.folder / "grid" / "features.npy"
    os.truncate(path, path.stat().st_size - 10)
    with pytest.raises(CaptioningError, match="Delete"):
        FeatureStore(store.folder)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):  # begun anew, and killed before any commit
        patch.setattr(GrowingRows, "commit", lambda *_: None)
        build(tmp_path / "store", pictures, Counting(fail_after=4))
    assert holds(build(tmp_path / "store", pictures), pictures)


def test_a_file_cut_short_while_it_is_open_is_a_sentence(tmp_path: Path, pictures: list[Path]) -> None:
    store = build(tmp_path / "store", pictures)
    path = store.folder / "grid" / "features.npy"
    os.truncate(path, path.stat().st_size - 10)
    assert store[range(N - 1)].grid is not None
    with pytest.raises(CaptioningError, match=f"{path}: row {N - 1} is not whole"):
        store[[N - 1]]


@pytest.mark.parametrize("value", [float("nan"), 1e6])
def test_features_that_are_no_numbers_in_half_precision_are_refused(
    value: float, tmp_path: Path, pictures: list[Path]
) -> None:
    with pytest.raises(CaptioningError, match="pooled features are not finite"):
        build(tmp_path, pictures, lambda images: Features(torch.full((len(images), 3), value), live(images).grid))


def test_two_processes_share_the_work_of_one(tmp_path: Path, pictures: list[Path]) -> None:
    context = multiprocessing.get_context("fork")
    counts = context.Queue()

    def work() -> None:
        counting = Counting()
        ok = holds(build(tmp_path / "store", pictures, counting), pictures)
        counts.put((ok, counting.photographs))

    processes = [context.Process(target=work) for _ in range(2)]
    for process in processes:
        process.start()
    results = [counts.get(timeout=60) for _ in processes]
    for process in processes:
        process.join()
    assert all(ok for ok, _ in results) and sorted(count for _, count in results) == [0, N]


class Reading(torch.utils.data.Dataset):
    def __init__(self, store: FeatureStore) -> None:
        self.store = store

    def __len__(self) -> int:
        return len(self.store)

    def __getitem__(self, row: int) -> Tensor:
        return self.store[[row]].pooled[0]


def test_worker_processes_read_an_opened_store(tmp_path: Path, pictures: list[Path]) -> None:
    store = build(tmp_path / "store", pictures)
    assert store[[0]].pooled is not None  # open in this process already
    loader = DataLoader(Reading(store), batch_size=2, num_workers=2, multiprocessing_context="fork")
    assert torch.equal(torch.cat(list(loader)), expected(pictures).pooled)
    assert holds(pickle.loads(pickle.dumps(store)), pictures)  # what spawn does


def test_a_complete_store_asks_for_no_encoder(tmp_path: Path, pictures: list[Path]) -> None:
    settings = {"key": {}, "spec": SPEC, "transform": TRANSFORM, "paths": pictures, "workers": 0}
    FeatureStore.build(tmp_path, extractor=lambda: live, **settings)
    FeatureStore.build(tmp_path, extractor=pytest.fail, **settings)


@pytest.mark.parametrize(
    ("batch", "at_once", "first", "rate"),
    [
        (16, 32, 6, 32),  # two workers: their batches come in pairs, one pair a second
        (16, 128, 16, 128),  # eight
        (64, 256, 8, 256),  # of a GPU, four
        (3, 0, 34, 1),  # none: three photographs, three seconds
    ],
)
def test_the_expected_time_is_told_once(
    batch: int, at_once: int, first: int, rate: int, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, told = 50.0, []
    monkeypatch.setattr(extraction.time, "monotonic", lambda: now)
    estimate = extraction._Estimate(10_000, 25 * 10**9, at_once)
    with caplog.at_level("INFO"):
        for number in range(10_000 // batch):
            if number % max(1, at_once // batch) == 0:
                now += max(1, at_once // batch) * batch / rate
            estimate.update(batch)
            told.append(len(caplog.records))
    (record,) = caplog.records
    found = re.match(r"10000 photographs, 25.0 GB of features: about (.*) minutes at (.*) photographs", record.message)
    assert found and float(found[2]) == pytest.approx(rate, rel=0.15)
    left = 10_000 - batch * (told.index(1) + 1)
    assert float(found[1]) == pytest.approx(left / rate / 60, rel=0.15, abs=0.05)
    assert told.index(1) + 1 >= first
