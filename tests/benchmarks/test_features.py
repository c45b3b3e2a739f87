"""Features: extraction against the bare encoder, and reading an epoch of COCO's size (`make bench`).

Every figure is a ratio to what the same machine does in the same run.
"""

import os
import time
from itertools import count
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from captioning.data.feature_files import FORMAT, GrowingRows
from captioning.data.feature_store import FeatureStore
from captioning.encoders.efficientnet import EfficientNetLite0

PHOTOGRAPHS, BATCH = 320, 32
COCO_IMAGES, COCO_CAPTIONS = 123_287, 616_435


def resident() -> float:
    """This process's resident memory, in GB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e9


def draw(folder: Path, size: tuple[int, int]) -> list[Path]:
    """JPEGs about as hard to decode as photographs: smooth fields with some noise."""
    random = np.random.default_rng(0)
    width, height = size
    for number in range(PHOTOGRAPHS):
        coarse = Image.fromarray(random.integers(0, 256, (height // 32, width // 32, 3), dtype=np.uint8))
        pixels = np.asarray(coarse.resize(size, Image.Resampling.BICUBIC), dtype=np.int16)
        noisy = pixels + random.integers(-12, 13, (height, width, 1))
        Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(folder / f"{number:04}.jpg", quality=90)
    return sorted(folder.glob("*.jpg"))


@pytest.mark.parametrize("size", [(224, 224), (640, 480)], ids=lambda size: f"{size[0]}×{size[1]}")
def test_extraction_against_the_bare_encoder(size: tuple[int, int], tmp_path: Path, race) -> None:
    """From JPEGs on disk to features on disk, EfficientNet-Lite0, all that it takes included."""
    encoder = EfficientNetLite0().fused()
    (tmp_path / "pictures").mkdir()
    paths, stores = draw(tmp_path / "pictures", size), count()
    ready = torch.stack([encoder.transform.read(path) for path in paths])

    def bare() -> None:
        with torch.inference_mode():
            for images in ready.split(BATCH):
                encoder(images)

    def pipeline() -> None:
        FeatureStore.build(
            tmp_path / f"store{next(stores)}",
            key={"encoder": "bench"},
            spec=encoder.spec,
            transform=encoder.transform,
            paths=paths,
            extract=encoder,
            batch_size=BATCH,
        )

    race(
        f"features of {size[0]}×{size[1]} JPEGs, EfficientNet-Lite0",
        pipeline,
        bare,
        count=len(paths),
        unit="photographs",
        against="the bare encoder",
        at_least=0.9,
        rounds=3,
    )


@pytest.mark.parametrize(("part", "shape"), [("pooled", (2048,)), ("grid", (49, 2048))])
def test_reading_an_epoch_of_coco_s_size(part: str, shape: tuple[int, ...], tmp_path: Path, report) -> None:
    """The size of ResNet-101's features, every photograph once with its five captions, in random order.

    The file is sparse: the kernel fills its holes with zeros, so that this measures the reading, not a disk.
    """
    rows = GrowingRows(tmp_path / part, (COCO_IMAGES, *shape))
    rows.begin()  # a file full of holes: its size is real, its bytes take no disk
    rows.finish({"format": FORMAT})
    store = FeatureStore(tmp_path, (part,))
    order = torch.randperm(COCO_IMAGES, generator=torch.manual_seed(0))
    before, peak = resident(), 0.0

    def epoch() -> float:
        nonlocal peak
        began = time.perf_counter()
        for images in order.split(64):
            features = store[images]
            peak = max(peak, resident())
        assert len(features) == len(images)
        return COCO_CAPTIONS / (time.perf_counter() - began)

    def sequential() -> float:
        began = time.perf_counter()
        with rows.path.open("rb", buffering=0) as file:
            buffer = bytearray(64 * rows.bytes)
            while file.readinto(buffer):
                pass
        return COCO_CAPTIONS / (time.perf_counter() - began)

    what = f"reading {part} of {COCO_IMAGES:,} photographs (sparse file)"
    report(what, epoch(), "captions", sequential(), "reading in order")
    assert peak < 2 and peak - before < 0.2
