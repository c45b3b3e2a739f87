"""Memory that does not grow: many epochs, pictures and scorings in one process each, measured as it goes.

By hand, in some minutes::

    python tests/flat.py
    python tests/flat.py --epochs 30 --pictures 20000 --scorings 1000

Each part reports its resident memory (MB), open files and threads at a quarter, half and the end of its work. Memory is
flat if the second half adds less than ``GROWTH`` to it.
"""

import argparse
import json
import logging
import os
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import redirect_stdout
from io import StringIO
from itertools import cycle, islice
from pathlib import Path
from typing import Any

GROWTH = 30.0  # MB that the second half of a part may add
WORDS = ("a", "red", "green", "small", "large", "dog", "cat", "ball", "runs", "sits", "on", "under", "the", "grass")
TINY = [
    *("data=own", "data.minimum_count=1", "data.batch_size=2", "data.captions_per_photo=2", "data.workers=0"),
    *("encoder=resnet18", "encoder.weights=null", "encoder.last_stage=layer1", "encoder.image_size=32"),
    *("decoder.embedding_size=8", "decoder.hidden_size=8", "search=greedy", "search.max_length=6", "patience=null"),
    *("trainer.log_every_n_steps=1", "trainer.enable_progress_bar=false", "trainer.accelerator=cpu", "logger=csv"),
    *("report=false", "test=false"),
]


class Watch:
    """The memory, open files and threads of this process, noted as the work goes on."""

    def __init__(self, what: str, total: int) -> None:
        """Begin a part of so many steps."""
        self.what, self.total, self.began = what, total, time.monotonic()
        self.noted: dict[int, tuple[float, int, int]] = {}

    def step(self, number: int) -> None:
        """Note the state after a quarter, half and all of the steps."""
        if number in (self.total // 4, self.total // 2, self.total):
            pages = int(Path("/proc/self/statm").read_text().split()[1])
            files = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
            self.noted[number] = (pages * os.sysconf("SC_PAGE_SIZE") / 1e6, files, threading.active_count())

    def told(self) -> dict[str, Any]:
        """The part's row."""
        memory = [memory for memory, _, _ in self.noted.values()]
        files, threads = ([state[place] for state in self.noted.values()] for place in (1, 2))
        flat = memory[-1] - memory[-2] < GROWTH and files[-1] <= files[-2] and threads[-1] <= threads[-2]
        seconds = round(time.monotonic() - self.began)
        return {"part": self.what, "steps": self.total, "memory": memory, "files": files, "threads": threads} | {
            "seconds": seconds,
            "flat": flat,
        }


def data(folder: Path) -> None:
    """Sixteen pictures with two captions each."""
    import numpy as np
    from PIL import Image

    rng, lines = np.random.default_rng(0), []
    for number in range(16):
        Image.fromarray(rng.integers(0, 256, (40, 48, 3), dtype=np.uint8)).save(folder / f"{number}.png")
        split = "train" if number < 10 else "val" if number < 13 else "test"
        for _ in range(2):
            caption = " ".join(rng.choice(WORDS, 6))
            lines.append(json.dumps({"image": f"{number}.png", "caption": caption, "split": split}))
    (folder / "captions.jsonl").write_text("\n".join(lines) + "\n")


def settings(folder: Path, epochs: int) -> list[str]:
    """The settings of a tiny training."""
    places = [f"data.root={folder}", f"data.features_root={folder / 'features'}", f"out={folder / 'runs'}"]
    return [*TINY, *places, f"trainer.max_epochs={epochs}", "name=run"]


def epochs(folder: Path, count: int) -> Watch:
    """Train for some epochs, each with its validation, checkpoint and samples."""
    import pytorch_lightning as pl

    from captioning.__main__ import main

    watch = Watch("epochs", count)
    before = pl.LightningModule.on_train_epoch_end

    def noted(module: pl.LightningModule) -> None:
        before(module)
        watch.step(module.current_epoch + 1)

    pl.LightningModule.on_train_epoch_end = noted  # type: ignore[method-assign]
    assert main(["train", *settings(folder, count)]) == 0
    return watch


def pictures(folder: Path, count: int) -> Watch:
    """Caption so many pictures, of files of several sizes and kinds, by one call of ``Captioner.caption``."""
    import numpy as np
    from PIL import Image

    from captioning.__main__ import main
    from captioning.predict.captioner import Captioner

    assert main(["train", *settings(folder, 1)]) == 0
    captioner = Captioner.load(folder / "runs" / "run", "cpu")
    rng, paths = np.random.default_rng(1), []
    for number, (width, height, kind) in enumerate(
        [(64, 48, "jpg"), (300, 200, "png"), (33, 90, "webp"), (8, 8, "gif")]
    ):
        paths.append(folder / f"photo{number}.{kind}")
        Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8)).save(paths[-1])
    (folder / "broken.jpg").write_bytes(paths[0].read_bytes()[:500])
    given: Iterator[Path] = islice(cycle([*paths, folder / "broken.jpg"]), count)
    watch, said, failed = Watch("pictures", count), 0, []
    for _ in captioner.caption(given, unusable=lambda place, error: failed.append(place)):
        said += 1
        watch.step(said + len(failed))
    assert said + len(failed) == count and len(failed) == count // 5
    for mark in (count // 4, count // 2, count):
        assert mark in watch.noted or not watch.step(mark)
    return watch


def scorings(folder: Path, count: int) -> Watch:
    """Score results so many times by ``captioning score``, with its bootstrap and METEOR where that is installed."""
    import numpy as np

    from captioning.__main__ import main

    rng = np.random.default_rng(2)
    said = [[" ".join(rng.choice(WORDS, 7)) for _ in range(3)] for _ in range(50)]
    references = {
        "images": [{"id": number} for number in range(50)],
        "annotations": [
            {"id": 3 * number + place, "image_id": number, "caption": text}
            for number, texts in enumerate(said)
            for place, text in enumerate(texts)
        ],
    }
    (folder / "references.json").write_text(json.dumps(references))
    results = [{"image_id": number, "caption": " ".join(rng.choice(WORDS, 7))} for number in range(50)]
    (folder / "results.json").write_text(json.dumps(results))
    line = ["score", str(folder / "results.json"), "--references", str(folder / "references.json"), "--resamples", "20"]
    watch = Watch("scorings", count)
    for number in range(1, count + 1):
        with redirect_stdout(StringIO()):
            assert main(line) == 0
        watch.step(number)
    return watch


PARTS = {"epochs": epochs, "pictures": pictures, "scorings": scorings}


def part(name: str, count: int) -> dict[str, Any]:
    """One part's row, from a process of its own."""
    done = subprocess.run(
        [sys.executable, __file__, "--part", name, f"--{name}", str(count)],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    row: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return row


def main(argv: list[str] | None = None) -> int:
    """Measure the parts, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--pictures", type=int, default=20_000)
    parser.add_argument("--scorings", type=int, default=1_000)
    parser.add_argument("--part", choices=PARTS, help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.part:
        logging.disable(logging.CRITICAL)
        warnings.simplefilter("ignore")
        with tempfile.TemporaryDirectory() as folder:
            data(Path(folder))
            with redirect_stdout(sys.stderr):
                watch = PARTS[options.part](Path(folder), getattr(options, options.part))
        print(json.dumps(watch.told()))
        return 0
    print(
        f"{'':9} {'number':>7} {'memory after a quarter, half, all':>36} {'files':>12} {'threads':>12} {'seconds':>8}"
    )
    every = [part(name, getattr(options, name)) for name in PARTS]
    for row in every:
        memory, files, threads = (
            ", ".join(f"{each:.0f}" for each in row[key]) for key in ("memory", "files", "threads")
        )
        print(f"{row['part']:9} {row['steps']:7} {memory + ' MB':>36} {files:>12} {threads:>12} {row['seconds']:8}")
    return 0 if all(row["flat"] for row in every) else 1


if __name__ == "__main__":
    sys.exit(main())
