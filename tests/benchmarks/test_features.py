"""Features: extraction against the bare encoder, and reading an epoch of COCO's size (`make bench`).

Every figure is a ratio to what the same machine does in the same run.
"""

import os
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest
import torch

from captioning.core.images import stack
from captioning.data.extraction import AT_ONCE_ON_A_GPU
from captioning.data.feature_store import FeatureStore
from captioning.encoders.efficientnet import EfficientNetLite0
from captioning.encoders.encoder import Encoder
from captioning.encoders.resnet import ResNet

BATCH = 32  # of the bare encoder
COCO_IMAGES, COCO_CAPTIONS = 123_287, 616_435


def resident() -> float:
    """This process's resident memory, in GB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e9


def resnet101() -> Encoder:
    """With random weights, small enough for half precision."""
    encoder = ResNet("resnet101", weights=None)
    for name, weight in encoder.named_parameters():
        if name.endswith("bn3.weight"):
            weight.data.fill_(0.1)
    return encoder


@pytest.mark.parametrize(
    ("name", "make", "size", "photographs"),
    [
        ("EfficientNet-Lite0", EfficientNetLite0, (224, 224), 960),  # Flickr8k as it is often kept
        ("EfficientNet-Lite0", EfficientNetLite0, (640, 480), 640),
        pytest.param("ResNet-101", resnet101, (640, 480), 256, marks=pytest.mark.slow),  # COCO
    ],
)
def test_extraction_against_the_bare_encoder(
    name: str,
    make: Callable[[], Encoder],
    size: tuple[int, int],
    photographs: int,
    tmp_path: Path,
    race: Callable,
    draw: Callable,
    device: torch.device,
) -> None:
    """From JPEGs on disk to features on disk, all that it takes included; on a GPU more photographs."""
    encoder = make().fused().to(device)
    photographs *= 4 if device.type == "cuda" else 1
    (tmp_path / "pictures").mkdir()
    paths, stores = draw(tmp_path / "pictures", size, photographs), count()
    ready = stack([encoder.transform.read(path) for path in paths])

    def bare() -> None:
        with torch.inference_mode():
            for images in ready.split(BATCH if device.type == "cpu" else AT_ONCE_ON_A_GPU):
                encoder(images.to(device))

    def pipeline() -> None:
        FeatureStore.build(
            tmp_path / f"store{next(stores)}",
            key={"encoder": "bench"},
            spec=encoder.spec,
            transform=encoder.transform,
            paths=paths,
            extractor=lambda: lambda images: encoder(images.to(device, non_blocking=True)),
            device=device,
        )

    race(
        f"features of {size[0]}×{size[1]} JPEGs, {name}",
        pipeline,
        bare,
        count=len(paths),
        unit="photographs",
        against="the bare encoder",
        at_least=0.9,
        rounds=3,
    )


@pytest.mark.parametrize("size", [(224, 224), (640, 480)], ids=lambda size: f"{size[0]}×{size[1]}")
def test_reading_against_encoding(size: tuple[int, int], tmp_path: Path, race, draw) -> None:
    """What a core does besides encoding; at k times the encoder's rate, extraction has k / (k + 1) of it at most."""
    torch.set_num_threads(1)
    encoder, paths = EfficientNetLite0().fused(), draw(tmp_path, size, 64)
    ready = stack([encoder.transform.read(path) for path in paths])

    def encode() -> None:
        with torch.inference_mode():
            for images in ready.split(16):
                encoder(images)

    race(
        f"decoding and resizing {size[0]}×{size[1]} JPEGs, one core",
        lambda: [encoder.transform.read(path) for path in paths],
        encode,
        count=len(paths),
        unit="photographs",
        against="EfficientNet-Lite0, one core",
    )


@pytest.mark.parametrize(("part", "shape"), [("pooled", (2048,)), ("grid", (49, 2048))])
def test_reading_an_epoch_of_coco_s_size(
    part: str, shape: tuple[int, ...], tmp_path: Path, report, store_of_zeros, pytestconfig: pytest.Config
) -> None:
    """The size of ResNet-101's features, every photograph once with its five captions, in random order.

    The file is sparse: the kernel fills its holes with zeros, so that this measures the reading, not a disk.
    """
    rows = store_of_zeros(tmp_path / part, COCO_IMAGES, *shape)
    store = FeatureStore(tmp_path, (part,))
    order = torch.randperm(COCO_IMAGES, generator=torch.manual_seed(0))
    before, peak = resident(), 0.0

    def epoch() -> float:
        nonlocal peak
        began = time.perf_counter()
        for images in order.split(64):
            features = store[images]
            peak = max(peak, resident())
        assert features.images == len(images)
        return COCO_CAPTIONS / (time.perf_counter() - began)

    def sequential() -> float:
        began = time.perf_counter()
        with rows.path.open("rb", buffering=0) as file:
            buffer = bytearray(64 * rows.bytes)
            while file.readinto(buffer):
                pass
        return COCO_CAPTIONS / (time.perf_counter() - began)

    what = f"reading {part} of {COCO_IMAGES:,} photographs (sparse file)"
    limit = sequential()
    report(f"{what}, with checksums, first epoch", epoch(), "captions", limit, "reading in order")
    report(what, epoch(), "captions", limit, "reading in order")
    assert peak - before < 0.2 and (peak < 2 or pytestconfig.getoption("--profile"))  # whose tables take memory
