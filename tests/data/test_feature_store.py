"""The feature store: what is stored equals what is live, whatever interrupts the extraction or changes the pictures."""

import errno
import hashlib
import json
import logging
import multiprocessing
import os
import pickle
import re
import shutil
import signal
import struct
import subprocess
import zlib
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
from captioning.core.files import UNFINISHED
from captioning.core.images import ImageTransform
from captioning.core.ownership import is_ours
from captioning.data import digests, extraction, feature_files, feature_store
from captioning.data.feature_files import GrowingRows
from captioning.data.feature_store import FeatureStore

SPEC = FeatureSpec(pooled=(3,), grid=(2, 2, 3))
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
        len(store) == len(paths)
        and torch.equal(stored["pooled"], wanted["pooled"])
        and torch.equal(stored["grid"], wanted["grid"])
    )


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, byte by byte."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def stores(root: Path) -> list[Path]:
    return [path for path in root.iterdir() if is_ours(path, "features")]


@pytest.mark.parametrize("workers", [0, 2])
def test_stored_features_are_the_live_ones(workers: int, tmp_path: Path, pictures: list[Path]) -> None:
    store = build(tmp_path / "store", pictures, workers=workers)
    assert holds(store, pictures)
    mapped = np.load(store.folder / "grid" / "features.npy", mmap_mode="r")
    assert mapped.shape == (N, 4, 3) and np.array_equal(mapped, expected(pictures)["grid"].numpy())


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
    assert (stored["pooled"] - features["pooled"]).abs().max() < 2e-3  # values up to 6, eleven bits
    assert (stored["grid"] - features["grid"]).abs().max() < 4e-3


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(st.integers(0, N - 1), max_size=20))
def test_any_rows_in_any_order(rows: list[int], tmp_path: Path, pictures: list[Path]) -> None:
    store = build(tmp_path / "store", pictures)
    wanted = expected(pictures)
    for features in (store[rows], store[torch.tensor(rows, dtype=torch.long)]):
        assert torch.equal(features["pooled"], wanted["pooled"][rows]) and torch.equal(
            features["grid"], wanted["grid"][rows]
        )


def test_rows_that_do_not_exist_are_refused(tmp_path: Path, pictures: list[Path]) -> None:
    store = build(tmp_path / "store", pictures)
    for row in (-1, N):
        with pytest.raises(IndexError):
            store[[row]]


def test_a_complete_store_is_not_computed_again(tmp_path: Path, pictures: list[Path]) -> None:
    build(tmp_path / "store", pictures)
    again = Counting()
    assert holds(build(tmp_path / "store", pictures, again), pictures) and again.photographs == 0


def test_moved_and_renamed_pictures_keep_their_features(tmp_path: Path, pictures: list[Path]) -> None:
    old = build(tmp_path / "store", pictures)
    again = Counting()
    moved = [Path(shutil.copy(path, tmp_path / f"other name {path.name}")) for path in pictures]  # new times
    store = build(tmp_path / "store", moved, again)
    assert holds(store, pictures) and again.photographs == 0 and store.folder == old.folder


def test_pictures_of_the_same_names_sizes_and_times_are_not_the_same(tmp_path: Path, pictures: list[Path]) -> None:
    (tmp_path / "others").mkdir()
    others = [tmp_path / "others" / path.name for path in pictures]
    for number, path in enumerate(others):
        draw(path, seed=100 + number)
    for path in [*pictures, *others]:
        os.utime(path, (0, 0))
    first, again = build(tmp_path / "store", pictures), Counting()
    second = build(tmp_path / "store", others, again)
    assert first.folder != second.folder and again.photographs == N
    assert holds(first, pictures) and holds(second, others)
    assert holds(build(tmp_path / "store", pictures, again), pictures) and again.photographs == N


@pytest.mark.parametrize("back", [True, False], ids=["same time", "new time"])
def test_a_changed_picture_alone_is_computed_beside_the_old_store(
    back: bool, tmp_path: Path, pictures: list[Path], caplog: pytest.LogCaptureFixture
) -> None:
    old, wanted = build(tmp_path / "store", pictures), expected(pictures)
    before, time = contents(old.folder), pictures[4].stat().st_mtime_ns
    draw(pictures[4], seed=99)
    if back:
        os.utime(pictures[4], ns=(time, time))
    again = Counting()
    with caplog.at_level(logging.INFO):
        store = build(tmp_path / "store", pictures, again)
    assert store.folder != old.folder and again.photographs == 1 and holds(store, pictures)
    assert f"the features of {N - 1} of {N} photographs are copied from {old.folder.name}" in caplog.text
    assert contents(old.folder) == before
    assert torch.equal(old[range(N)]["pooled"], wanted["pooled"]) and torch.equal(old[range(N)]["grid"], wanted["grid"])


def test_a_store_that_is_open_does_not_change_under_its_reader(tmp_path: Path, pictures: list[Path]) -> None:
    """A training that reads, while another run begins with other pictures of the same names."""
    store, wanted = build(tmp_path / "store", pictures, parts=("pooled",)), expected(pictures)["pooled"]
    before = contents(store.folder)
    for number, path in enumerate(pictures):
        draw(path, seed=200 + number)
    assert holds(build(tmp_path / "store", pictures), pictures)
    assert contents(store.folder) == before
    assert torch.equal(store[range(N)]["pooled"], wanted)


def test_a_picture_that_changes_while_features_are_computed_is_refused(tmp_path: Path, pictures: list[Path]) -> None:
    counting = Counting()

    def extract(images: Tensor) -> Features:
        if not counting.photographs:
            time = pictures[8].stat().st_mtime_ns
            draw(pictures[8], seed=99)
            os.utime(pictures[8], ns=(time, time))
        return counting(images)

    with pytest.raises(CaptioningError, match=r"8\.bmp: it has changed while features were computed\. Run again\."):
        build(tmp_path / "store", pictures, extract)
    again = Counting()
    assert holds(build(tmp_path / "store", pictures, again), pictures) and again.photographs == 1


@pytest.mark.parametrize("order", [slice(None, None, -1), slice(2, 9)])
def test_another_list_takes_over_what_it_shares(order: slice, tmp_path: Path, pictures: list[Path]) -> None:
    build(tmp_path / "store", pictures)
    again = Counting()
    draw(pictures[0].parent / "new.bmp", seed=50)
    paths = [*pictures[order], pictures[0].parent / "new.bmp"]
    assert holds(build(tmp_path / "store", paths, again), paths) and again.photographs == 1


@pytest.mark.parametrize("copied", [1, 10**6])
def test_rows_are_taken_over_from_several_stores_complete_or_not(
    copied: int, tmp_path: Path, pictures: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feature_store, "COPIED", copied)
    build(tmp_path / "store", pictures[:3])
    with pytest.raises(KeyboardInterrupt):
        build(tmp_path / "store", pictures[3:9], Counting(fail_after=4))
    build(tmp_path / "store", pictures[9:], parts=("pooled",))
    again = Counting()
    assert holds(build(tmp_path / "store", pictures, again), pictures)
    assert again.photographs == N - 3 - 4  # the grid of the last two is missing


def test_a_row_that_is_safe_is_not_written_again(tmp_path: Path, pictures: list[Path]) -> None:
    """Another store may be copying it, and a crash would leave it torn under the digest that vouches for it."""

    def other(images: Tensor) -> Features:
        features = live(images)
        return Features(pooled=features["pooled"] + 1, grid=features["grid"] + 1)

    build(tmp_path / "store", pictures[:5], parts=("pooled",))
    store, wanted = build(tmp_path / "store", pictures, other), expected(pictures)
    assert torch.equal(store[range(5)]["pooled"], wanted["pooled"][:5])
    assert (store[range(5, N)]["pooled"] - wanted["pooled"][5:]).min() > 0.9
    assert (store[range(N)]["grid"] - wanted["grid"]).min() > 0.9


@pytest.mark.parametrize("change", [{"key": {"encoder": "other"}}, {"transform": ImageTransform((8, 8), "crop")}])
def test_nothing_is_taken_over_from_another_encoder_or_transform(
    change: dict, tmp_path: Path, pictures: list[Path]
) -> None:
    build(tmp_path / "store", pictures)
    again = Counting()
    build(tmp_path / "store", pictures, again, **change)
    assert again.photographs == N


def test_a_damaged_store_is_no_source(tmp_path: Path, pictures: list[Path]) -> None:
    for first, damage in enumerate(("store.json", "pooled/digests.npy", "pooled/features.npy")):
        root, again = tmp_path / str(first), Counting()
        old = build(root, pictures[1:])
        (old.folder / damage).write_bytes(b"[" * 99_999)
        assert holds(build(root, pictures, again), pictures) and again.photographs == N
        assert (old.folder / damage).read_bytes() == b"[" * 99_999


def test_a_complete_store_is_read_without_writing(
    tmp_path: Path, pictures: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(digests, "SETTLED", -(10**9))
    build(tmp_path / "store", pictures)
    before = contents(tmp_path / "store")
    real = os.open

    def no_writing(path, flags, *rest, **options) -> int:
        assert not flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT), path
        return real(path, flags, *rest, **options)

    for module, name in [(digests, "atomic_write"), (feature_files, "atomic_write"), (feature_store, "lock")]:
        monkeypatch.setattr(module, name, pytest.fail)
    monkeypatch.setattr(os, "open", no_writing)
    monkeypatch.setattr(os, "mkdir", pytest.fail)
    assert holds(build(tmp_path / "store", pictures, pytest.fail), pictures)
    assert contents(tmp_path / "store") == before


def test_a_folder_of_somebody_else_is_refused(tmp_path: Path, pictures: list[Path]) -> None:
    folder = build(tmp_path / "store", pictures).folder
    shutil.rmtree(folder)
    for name in ("notes.txt", "pooled/features.npy", "pooled/digests.npy"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("years of work")
        before = contents(folder)
        with pytest.raises(CaptioningError, match=f"{folder}: this holds something other than features"):
            build(tmp_path / "store", pictures)
        assert contents(folder) == before
        shutil.rmtree(folder)
    folder.touch()
    with pytest.raises(CaptioningError, match=f"{folder}: this is no folder"):
        build(tmp_path / "store", pictures)


def test_stores_of_an_earlier_version_are_named_where_others_take_their_place(
    tmp_path: Path, pictures: list[Path], caplog: pytest.LogCaptureFixture
) -> None:
    earlier = tmp_path / "store" / "0123456789abcdef"
    (earlier / "pooled").mkdir(parents=True)
    for name in ("lock", "pooled/stamps.npy", "pooled/features.npy", "pooled/manifest.json"):
        (earlier / name).write_bytes(bytes(100_000_000 if "features" in name else 10))
    before = {path: path.stat().st_mtime_ns for path in earlier.rglob("*")}
    build(tmp_path / "store", pictures)
    (record,) = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert str(tmp_path / "store") in record.message and "(0.1 GB)" in record.message
    assert record.message.endswith("Delete 0123456789abcdef.")
    caplog.clear()
    build(tmp_path / "store", pictures)
    assert not caplog.records
    assert {path: path.stat().st_mtime_ns for path in earlier.rglob("*")} == before


DAMAGE = [b"", b"{", b"[]", b"[" * 99_999, b'{"format": 3, "shape": 7}', b'{"format": 3, "shape": ["a", "b"]}', b"\xff"]


@pytest.mark.parametrize("damage", DAMAGE, ids=range(len(DAMAGE)))
def test_a_damaged_manifest_costs_no_features(damage: bytes, tmp_path: Path, pictures: list[Path]) -> None:
    store = build(tmp_path / "store", pictures)
    path = store.folder / "grid" / "manifest.json"
    path.write_bytes(damage)
    with pytest.raises(CaptioningError, match=f"{path}: not what was stored there. Delete this file and run again"):
        FeatureStore(store.folder)
    before = (store.folder / "grid" / "features.npy").stat().st_mtime_ns
    assert holds(build(tmp_path / "store", pictures, pytest.fail), pictures)
    assert (store.folder / "grid" / "features.npy").stat().st_mtime_ns == before
    assert json.loads(path.read_text())["shape"] == [N, 4, 3]


def test_the_small_files_of_a_complete_store_may_be_damaged(tmp_path: Path, pictures: list[Path]) -> None:
    store = build(tmp_path / "store", pictures)
    for name in ("store.json", "pooled/digests.npy", "grid/digests.npy"):
        (store.folder / name).write_bytes(b"\xff")
    assert holds(build(tmp_path / "store", pictures, pytest.fail), pictures)


@pytest.mark.parametrize("name", ["pooled/digests.npy", "store.json"])
def test_a_damaged_small_file_of_an_interrupted_extraction_is_written_anew(
    name: str, tmp_path: Path, pictures: list[Path]
) -> None:
    with pytest.raises(KeyboardInterrupt):
        build(tmp_path / "store", pictures, Counting(fail_after=4))
    (folder,) = stores(tmp_path / "store")
    (folder / name).write_bytes(b"\xff" * 304)
    again = Counting()
    assert holds(build(tmp_path / "store", pictures, again), pictures)
    assert again.photographs == (N if "digests" in name else N - 4)


def test_digests_without_their_rows_vouch_for_nothing(
    tmp_path: Path, pictures: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(KeyboardInterrupt):
        build(tmp_path / "store", pictures, Counting(fail_after=4))
    (folder,) = stores(tmp_path / "store")
    (folder / "grid" / "features.npy").unlink()
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):  # begun anew, and killed before any row
        patch.setattr(GrowingRows, "write", lambda *_: None)
        patch.setattr(GrowingRows, "commit", lambda *_: None)
        build(tmp_path / "store", pictures, Counting(fail_after=4))
    assert holds(build(tmp_path / "store", pictures), pictures)


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
    assert "grid" not in pooled[[0]] and not (pooled.folder / "grid").exists()
    before = {path: path.stat().st_mtime_ns for path in (pooled.folder / "pooled").iterdir()}
    store = build(tmp_path / "store", pictures)
    assert store.folder == pooled.folder and holds(store, pictures)
    assert {path: path.stat().st_mtime_ns for path in (pooled.folder / "pooled").iterdir()} == before


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
            (folder,) = stores(root)
            with pytest.raises(CaptioningError, match="no such complete store"):
                FeatureStore(folder)
        left -= part.photographs
    last = Counting()
    assert holds(build(root, pictures, last), pictures) and last.photographs == left


def test_kill_minus_nine_loses_only_what_was_not_safe(
    tmp_path: Path, pictures: list[Path], in_fork: Callable[..., "subprocess.CompletedProcess[str]"]
) -> None:
    counting = Counting()

    def extract(images: Tensor) -> Features:
        if counting.photographs == 6:
            os.kill(os.getpid(), signal.SIGKILL)
        return counting(images)

    def work() -> int:
        extraction.COMMIT_SECONDS, extraction.AHEAD = 0, 0
        build(tmp_path / "store", pictures, extract)
        return 0

    done = in_fork(work, cwd=tmp_path)
    assert done.returncode == -signal.SIGKILL, done.stderr
    (folder,) = stores(tmp_path / "store")
    with pytest.raises(CaptioningError, match="no such complete store"):
        FeatureStore(folder)
    rest = Counting()
    assert holds(build(tmp_path / "store", pictures, rest), pictures)
    assert rest.photographs == N - 6


def test_kill_minus_nine_at_any_step_leaves_nothing_wrong(
    tmp_path: Path, pictures: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed before its first, second, … file takes its place; one of the pictures had been in another store."""
    monkeypatch.setattr(digests, "SETTLED", -(10**9))
    for kill in range(1, 100):
        root = tmp_path / f"store{kill}"
        build(root, pictures[3:4])
        status = _killed_at(kill, lambda root=root: build(root, pictures, batch_size=4))
        assert status in (0, -signal.SIGKILL)
        last = Counting()
        assert holds(build(root, pictures, last), pictures), kill
        assert not [path for path in root.rglob("*") if UNFINISHED.fullmatch(path.name)], kill
        assert last.photographs < N
        if status == 0:
            break
    assert kill > 10


def _killed_at(kill: int, work: Callable[[], object]) -> int:
    """The exit status of a process that is killed before it renames or removes its ``kill``th file."""
    child = os.fork()
    if child == 0:
        steps = 0

        def step(real: Callable) -> Callable:
            def stepping(*arguments: object, **options: object) -> object:
                nonlocal steps
                steps += 1
                if steps == kill:
                    os.kill(os.getpid(), signal.SIGKILL)
                return real(*arguments, **options)

            return stepping

        extraction.COMMIT_SECONDS = 0
        Path.replace, Path.unlink = step(Path.replace), step(Path.unlink)
        try:
            work()
            os._exit(0)
        finally:
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_bad_pictures_are_all_named_and_the_rest_is_kept(tmp_path: Path, pictures: list[Path]) -> None:
    pictures[3].write_bytes(b"no picture")
    pictures[9].write_bytes(pictures[9].read_bytes()[:200])
    chunks = {b"IHDR": struct.pack(">IIBBBBB", 2, 2, 8, 3, 0, 0, 0), b"PLTE": bytes(6), b"tRNS": bytes(300)}
    chunks |= {b"IDAT": zlib.compress(bytes(6)), b"IEND": b""}
    parts = [struct.pack(">I", len(c)) + k + c + struct.pack(">I", zlib.crc32(k + c)) for k, c in chunks.items()]
    (tmp_path / "palette.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))  # Pillow raises a ValueError
    with pytest.raises(CaptioningError) as caught:
        build(tmp_path / "store", [*pictures, tmp_path / "palette.png"], batch_size=4)
    message = str(caught.value)
    assert message.startswith("3 pictures") and str(pictures[3]) in message and str(pictures[9]) in message
    assert "palette.png: the picture can't be read" in message
    assert "Mend pictures" in message and "BytesIO" not in message
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


@pytest.mark.parametrize("interrupted", [True, False])
def test_a_file_cut_short_by_copying_is_neither_read_nor_written_to(
    interrupted: bool, tmp_path: Path, pictures: list[Path]
) -> None:
    with pytest.raises(KeyboardInterrupt):
        build(tmp_path / "store", pictures, Counting(fail_after=4))
    (folder,) = stores(tmp_path / "store")
    if not interrupted:
        build(tmp_path / "store", pictures)
    path = folder / "grid" / "features.npy"
    os.truncate(path, path.stat().st_size - 10)
    before = contents(folder)
    with pytest.raises(CaptioningError, match=f"{path}: not the file .* Delete {path.parent} and extract again"):
        build(tmp_path / "store", pictures)
    assert contents(folder) == before
    shutil.rmtree(path.parent)
    assert holds(build(tmp_path / "store", pictures), pictures)


@pytest.mark.parametrize("part", ["pooled", "grid"])
@pytest.mark.parametrize("how", ["bit", "zeros", "another row"])
def test_a_damaged_row_is_not_read(how: str, part: str, tmp_path: Path, pictures: list[Path]) -> None:
    store = build(tmp_path / "store", pictures)
    path = store.folder / part / "features.npy"
    rows = np.load(path, mmap_mode="r+")
    if how == "bit":
        rows[4].view(np.uint16)[..., -1] ^= 1 << 9
    else:
        rows[4] = 0 if how == "zeros" else rows[5]
    rows.flush()
    opened = FeatureStore(store.folder)
    others = [row for row in range(N) if row != 4]
    assert torch.equal(opened[others][part], expected(pictures)[part][others])
    for _ in range(2):
        with pytest.raises(CaptioningError, match=rf"{path}: row 4 is not what was stored .* Delete {path.parent} and"):
            opened[[3, 4]]
    again = Counting()  # another list takes over what is right, and computes the rest
    assert holds(build(tmp_path / "store", pictures[::-1], again), pictures[::-1])
    assert 0 < again.photographs <= N
    shutil.rmtree(path.parent)
    assert holds(build(tmp_path / "store", pictures), pictures)


def test_without_its_checksums_a_store_is_damaged(tmp_path: Path, pictures: list[Path]) -> None:
    path = build(tmp_path / "store", pictures).folder / "grid" / "checksums.npy"
    for damage in (path.read_bytes()[:-1], None):
        path.unlink() if damage is None else path.write_bytes(damage)
        with pytest.raises(CaptioningError, match=rf"{path}: not the file that was stored there"):
            build(tmp_path / "store", pictures)


def test_a_row_is_verified_once(tmp_path: Path, pictures: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    store, seen, crc32 = FeatureStore(build(tmp_path / "store", pictures).folder), [], zlib.crc32
    monkeypatch.setattr(zlib, "crc32", lambda content: seen.append(len(content)) or crc32(content))
    store[[1, 2, 1]], store[[2, 3]]
    assert len(seen) == 3 * 2  # two parts


def test_a_system_without_preadv_reads_the_same(
    tmp_path: Path, pictures: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = build(tmp_path / "store", pictures)
    monkeypatch.delattr(os, "preadv", raising=False)
    assert holds(FeatureStore(store.folder), pictures)


def test_a_file_cut_short_while_it_is_open_is_a_sentence(tmp_path: Path, pictures: list[Path]) -> None:
    store = build(tmp_path / "store", pictures)
    path = store.folder / "grid" / "features.npy"
    os.truncate(path, path.stat().st_size - 10)
    assert store[range(N - 1)]["grid"].numel()
    with pytest.raises(CaptioningError, match=f"{path}: row {N - 1} is not whole"):
        store[[N - 1]]


@pytest.mark.parametrize("value", [float("nan"), 1e6])
def test_features_that_are_no_numbers_in_half_precision_are_refused(
    value: float, tmp_path: Path, pictures: list[Path]
) -> None:
    with pytest.raises(CaptioningError, match="pooled features are not finite"):
        build(
            tmp_path,
            pictures,
            lambda images: Features(pooled=torch.full((len(images), 3), value), grid=live(images)["grid"]),
        )


def test_two_processes_share_the_work_of_one(tmp_path: Path, pictures: list[Path]) -> None:
    context = multiprocessing.get_context("fork")
    counts = context.Queue()

    def work() -> None:
        counting = Counting()
        ok = holds(build(tmp_path / "store", pictures, counting), pictures)
        counts.put((ok, counting.photographs))

    processes = [context.Process(target=work) for _ in range(3)]
    for process in processes:
        process.start()
    results = [counts.get(timeout=60) for _ in processes]
    for process in processes:
        process.join()
    assert all(ok for ok, _ in results) and sorted(count for _, count in results) == [0, 0, N]


def test_workers_that_outlive_a_killed_process_do_not_hold_the_store(tmp_path: Path, pictures: list[Path]) -> None:
    read, write = os.pipe()

    def extract(images: Tensor) -> Features:
        if os.fork() == 0:  # as a DataLoader's worker that has not noticed yet
            os.write(write, f"{os.getpid()}\n".encode())
            signal.pause()
        os.kill(os.getpid(), signal.SIGKILL)
        return live(images)

    child = os.fork()
    if child == 0:
        try:
            build(tmp_path / "store", pictures, extract)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    orphan = int(os.read(read, 100))
    try:
        assert holds(build(tmp_path / "store", pictures), pictures)
    finally:
        os.kill(orphan, signal.SIGKILL)
        os.close(read), os.close(write)


class Reading(torch.utils.data.Dataset):
    def __init__(self, store: FeatureStore) -> None:
        self.store = store

    def __len__(self) -> int:
        return len(self.store)

    def __getitem__(self, row: int) -> Tensor:
        return self.store[[row]]["pooled"][0]


def test_worker_processes_read_an_opened_store(tmp_path: Path, pictures: list[Path]) -> None:
    store = build(tmp_path / "store", pictures)
    assert store[[0]]["pooled"].numel()  # open in this process already
    loader = DataLoader(Reading(store), batch_size=2, num_workers=2, multiprocessing_context="fork")
    assert torch.equal(torch.cat(list(loader)), expected(pictures)["pooled"])
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


MOST = 4
VARYING = FeatureSpec(["objects"], pooled=(3,), objects=(MOST, 3))


def regions_of(image: Tensor) -> Tensor:
    """1 to 4 regions of a picture ``(3, 8, 8)``, by what it shows."""
    count = 1 + int(image.sum()) % MOST
    return image.float().mean((1, 2)) / 255 * torch.arange(1, count + 1).unsqueeze(1)  # (count, 3)


def detect(images: Tensor) -> Features:
    """An encoder whose batches have each an L of their own; what is beyond a photograph's regions is NaN."""
    found = [regions_of(image) for image in images]
    objects = torch.full((len(found), max(map(len, found)), 3), torch.nan)
    for place, regions in enumerate(found):
        objects[place, : len(regions)] = regions
    lengths = torch.tensor([len(regions) for regions in found])
    return Features({"objects": lengths}, pooled=images.float().mean((2, 3)) / 255, objects=objects)


class Detecting(Counting):
    def __call__(self, images: Tensor) -> Features:
        super().__call__(images)
        return detect(images)


def holds_regions(store: FeatureStore, paths: Sequence[Path], rows: Sequence[int] | None = None) -> bool:
    """Whether a store has exactly the regions of each photograph, zeros behind them, and no place more."""
    rows = range(len(paths)) if rows is None else rows
    stored, wanted = store[rows], [regions_of(TRANSFORM.read(paths[row])).half() for row in rows]
    objects, lengths = stored["objects"], stored.lengths["objects"].tolist()
    return (
        lengths == [len(regions) for regions in wanted]
        and objects.shape == (len(rows), max(lengths, default=1), 3)
        and all(torch.equal(found[: len(regions)], regions) for found, regions in zip(objects, wanted, strict=True))
        and all(not found[length:].any() for found, length in zip(objects, lengths, strict=True))
    )


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("batch_size", [1, 3, 16])
def test_photographs_with_different_numbers_of_regions(
    batch_size: int, workers: int, tmp_path: Path, pictures: list[Path]
) -> None:
    assert len({len(regions_of(TRANSFORM.read(path))) for path in pictures}) > 2
    store = build(tmp_path / "store", pictures, detect, spec=VARYING, batch_size=batch_size, workers=workers)
    assert holds_regions(store, pictures) and "grid" not in store[[0]]
    assert holds_regions(FeatureStore(store.folder), pictures)  # all that is there
    assert np.load(store.folder / "objects" / "features.npy", mmap_mode="r").shape == (N, MOST, 3)
    assert np.load(store.folder / "objects" / "lengths.npy").tolist() == store[range(N)].lengths["objects"].tolist()
    assert not (store.folder / "pooled" / "lengths.npy").exists()
    assert holds_regions(build(tmp_path / "store", pictures, pytest.fail, spec=VARYING), pictures)
    assert holds_regions(pickle.loads(pickle.dumps(store)), pictures)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(st.integers(0, N - 1), max_size=20))
def test_any_rows_are_cut_to_the_longest_of_them(rows: list[int], tmp_path: Path, pictures: list[Path]) -> None:
    store = build(tmp_path / "store", pictures, detect, spec=VARYING)
    assert holds_regions(store, pictures, rows)


def test_a_part_without_lengths_has_all_regions_of_its_batch(tmp_path: Path, pictures: list[Path]) -> None:
    def two(images: Tensor) -> Features:
        features = live(images)
        return Features(pooled=features["pooled"], objects=features["grid"][:, :2])

    stored = build(tmp_path / "store", pictures, two, spec=VARYING)[range(N)]
    assert stored.lengths["objects"].tolist() == [2] * N
    assert torch.equal(stored["objects"], expected(pictures)["grid"][:, :2])


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(stops=st.lists(st.integers(0, N), max_size=4))
def test_an_interrupted_extraction_of_varying_regions_goes_on(
    stops: list[int], tmp_path_factory, pictures: list[Path]
) -> None:
    root, left = tmp_path_factory.mktemp("store"), N
    for stop in stops:
        part = Detecting(fail_after=stop)
        try:
            build(root, pictures, part, spec=VARYING)
        except KeyboardInterrupt:
            (folder,) = stores(root)
            with pytest.raises(CaptioningError, match="no such complete store"):
                FeatureStore(folder)
        left -= part.photographs
    last = Detecting()
    assert holds_regions(build(root, pictures, last, spec=VARYING), pictures) and last.photographs == left


def test_kill_minus_nine_at_any_step_leaves_no_wrong_length(
    tmp_path: Path, pictures: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(digests, "SETTLED", -(10**9))
    for kill in range(1, 100):
        root = tmp_path / f"store{kill}"
        build(root, pictures[3:4], detect, spec=VARYING)
        status = _killed_at(kill, lambda root=root: build(root, pictures, detect, spec=VARYING, batch_size=4))
        assert status in (0, -signal.SIGKILL)
        last = Detecting()
        assert holds_regions(build(root, pictures, last, spec=VARYING), pictures), kill
        assert last.photographs < N
        if status == 0:
            break
    assert kill > 10


def test_lengths_are_taken_over_with_their_rows(tmp_path: Path, pictures: list[Path]) -> None:
    build(tmp_path / "store", pictures[:3], detect, spec=VARYING)
    with pytest.raises(KeyboardInterrupt):
        build(tmp_path / "store", pictures[3:9], Detecting(fail_after=4), spec=VARYING)
    again = Detecting()
    paths = pictures[::-1]
    assert holds_regions(build(tmp_path / "store", paths, again, spec=VARYING), paths)
    assert again.photographs == N - 3 - 4


def test_regions_are_added_to_those_that_are_there(tmp_path: Path, pictures: list[Path]) -> None:
    """A batch of 4 has photographs whose regions are safe already, and others."""
    build(tmp_path / "store", pictures[:6], detect, spec=VARYING, parts=("objects",))
    again = Detecting()
    store = build(tmp_path / "store", pictures, again, spec=VARYING, batch_size=4)
    assert holds_regions(store, pictures) and again.photographs == N


@pytest.mark.parametrize("damage", [b"", b"\xff" * 304, "shorter", "zeros", "too many"], ids=str)
def test_damaged_lengths(damage: bytes | str, tmp_path: Path, pictures: list[Path]) -> None:
    """Of a complete store they are a sentence; of an interrupted one their rows are computed anew."""

    def spoil(path: Path) -> None:
        lengths = np.load(path)
        if isinstance(damage, bytes):
            path.write_bytes(damage)
        else:
            np.save(path, {"shorter": lengths[1:], "zeros": 0 * lengths, "too many": lengths + MOST}[damage])

    with pytest.raises(KeyboardInterrupt):
        build(tmp_path / "store", pictures, Detecting(fail_after=4), spec=VARYING)
    (folder,) = stores(tmp_path / "store")
    path = folder / "objects" / "lengths.npy"
    spoil(path)
    again = Detecting()
    assert holds_regions(build(tmp_path / "store", pictures, again, spec=VARYING), pictures)
    assert again.photographs == N
    spoil(path)
    with pytest.raises(CaptioningError, match=f"{path}: not the file .* Delete {path.parent} and extract again"):
        FeatureStore(folder)[range(N)]
    again = Detecting()
    assert holds_regions(build(tmp_path / "store", pictures[1:], again, spec=VARYING), pictures[1:])
    assert again.photographs == N - 1  # a damaged store is no source


def padded(lengths: Sequence[int], size: int = 3, value: float = 1.0) -> Callable[[Tensor], Features]:
    """An encoder that gives the photographs of a batch of 2 these numbers of regions."""

    def extract(images: Tensor) -> Features:
        pooled, objects = live(images)["pooled"], torch.full((len(images), max(*lengths, 1), size), value)
        return Features({"objects": torch.tensor(lengths)[: len(images)]}, pooled=pooled, objects=objects)

    return extract


@pytest.mark.parametrize(
    ("extract", "sentence"),
    [
        (padded([2, 5]), r"[13579]\.bmp: the encoder gives 5 regions of its objects .* room for 4\. .*={'objects': 5}"),
        (padded([2, 0]), r"[13579]\.bmp: the encoder finds no region in it .* attention needs one at least\. Let"),
        (padded([2, 3], size=7), r"objects features are \(3, 7\) of each photograph with lengths, .* says \(4, 3\)"),
        (padded([2, 3], value=float("nan")), "objects features are not finite numbers"),
        (lambda images: Features(**{**detect(images), "objects": images}), r"objects features are \(3, 8, 8\) of each"),
        (
            lambda images: Features(**{**detect(images), "pooled": torch.ones(len(images), 4)}),
            r"pooled features are \(4,\) of each photograph, and its spec says \(3,\)",
        ),
    ],
)
def test_features_that_are_not_as_the_spec_says(
    extract: Callable[[Tensor], Features], sentence: str, tmp_path: Path, pictures: list[Path]
) -> None:
    with pytest.raises(CaptioningError, match=sentence):
        build(tmp_path / "store", pictures, extract, spec=VARYING)
    assert holds_regions(build(tmp_path / "store", pictures, detect, spec=VARYING), pictures)


def test_lengths_of_a_part_that_does_not_vary_are_refused(tmp_path: Path, pictures: list[Path]) -> None:
    def extract(images: Tensor) -> Features:
        return Features({"grid": torch.full((len(images),), 2)}, **live(images))

    with pytest.raises(
        CaptioningError, match=r"grid features are \(4, 3\) of each photograph with lengths, and its spec"
    ):
        build(tmp_path / "store", pictures, extract)


@pytest.mark.parametrize("workers", [0, 2])
def test_an_encoder_s_own_sentence_names_the_photograph(workers: int, tmp_path: Path, pictures: list[Path]) -> None:
    worst = max(range(N), key=lambda row: int(TRANSFORM.read(pictures[row]).sum()))
    limit = int(TRANSFORM.read(pictures[worst]).sum())

    def extract(images: Tensor) -> Features:
        if any(int(image.sum()) >= limit for image in images):
            raise CaptioningError("There is nothing to see.")
        return live(images)

    with pytest.raises(CaptioningError) as caught:
        build(tmp_path / "store", pictures, extract, workers=workers, batch_size=4)
    assert str(caught.value) == f"{pictures[worst]}: There is nothing to see."


@pytest.mark.parametrize(
    ("spec", "parts", "sentence"),
    [
        (SPEC, ("objects",), "'objects' .* this encoder has pooled, grid"),
        (FeatureSpec(**{"../up": (3,)}), None, "'../up' can't name a part"),
        (FeatureSpec(**{"0.grid": (3,)}), ("0.grid",), "'0.grid' can't name a part"),
    ],
)
def test_parts_that_can_not_be_stored(
    spec: FeatureSpec, parts: tuple[str, ...] | None, sentence: str, tmp_path: Path, pictures: list[Path]
) -> None:
    with pytest.raises(CaptioningError, match=sentence):
        build(tmp_path / "store", pictures, spec=spec, parts=parts)
    assert not (tmp_path / "store").exists() or not stores(tmp_path / "store")


def test_a_store_of_version_0_1_is_read_as_it_is(tmp_path: Path, pictures: list[Path]) -> None:
    """Its files, written here by hand: another key, name or layout would compute the features once more."""
    root, wanted = tmp_path / "store", expected(pictures)
    hashes = np.stack(
        [np.frombuffer(hashlib.blake2b(path.read_bytes(), digest_size=16).digest(), "u1") for path in pictures]
    )
    described = {"encoder": "e", "format": 3, "spec": [3, 3, 2, 2], "transform": TRANSFORM.to_dict()}
    whole = {**described, "photographs": hashlib.sha256(hashes.tobytes()).hexdigest()}
    folder = root / hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest()[:16]
    for part in ("pooled", "grid"):
        (folder / part).mkdir(parents=True)
        np.save(folder / part / "features.npy", wanted[part].numpy())
        np.save(folder / part / "digests.npy", hashes)
        (folder / part / "manifest.json").write_text(json.dumps({**whole, "shape": list(wanted[part].shape)}))
    (folder / "store.json").write_text(json.dumps({"photographs": N, "features": described}))
    before = contents(folder)
    store = build(root, pictures, pytest.fail)
    assert store.folder == folder and holds(store, pictures) and contents(folder) == before
    again = Counting()
    assert holds(build(root, pictures[1:], again), pictures[1:]) and again.photographs == 0  # its rows are copied
