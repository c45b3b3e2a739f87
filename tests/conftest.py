"""Fixtures of all tests: the folder of real data, a tiny data set, and the settings of a tiny captioner."""

import captioning.__main__  # isort: skip  # before torch: threads must wait as in the commands

import io
import json
import logging
import os
import signal
import subprocess
import sys
import tempfile
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from itertools import islice, product
from pathlib import Path
from string import ascii_lowercase

import numpy as np
import pytest
import torch
from PIL import Image

from captioning.core.vocabulary import SPECIAL, Vocabulary
from captioning.data.captions import TokenizedCaptions
from captioning.data.photos import Photo

torch.set_num_threads(1)  # tests are small, and several processes of them may run at once
os.environ["OMP_NUM_THREADS"] = "1"  # the same for the processes that tests start

TINY = [
    "data=own",
    "data.minimum_count=1",
    "data.batch_size=2",
    "data.captions_per_photo=2",
    "data.workers=0",
    "encoder=resnet18",
    "encoder.weights=null",
    "encoder.last_stage=layer1",  # checkpoints of half a megabyte, where the whole network's have 45
    "encoder.image_size=32",
    "decoder.embedding_size=8",
    "decoder.hidden_size=8",
    "decoder.output_dropout=0.5",
    "search=greedy",
    "search.max_length=6",
    "optimizer.lr=0.01",
    "trainer.max_epochs=2",
    "trainer.log_every_n_steps=1",
    "trainer.enable_progress_bar=false",
    "trainer.accelerator=cpu",
    "logger=csv",
    "patience=null",
    "report=false",
]


WORDS = ["w" + "".join(letters) for letters in islice(product(ascii_lowercase, repeat=3), 1000)]
CAPTIONS = [" ".join(WORDS[begin : begin + 10]) for begin in range(0, 1000, 10)]


class MadeUp(Sequence[Photo]):
    """Images with five captions of ten words, made on access."""

    def __init__(self, photos: int) -> None:
        self.photos = photos

    def __len__(self) -> int:
        return self.photos

    def __getitem__(self, number):
        return Photo(number, Path("photo.jpg"), tuple(CAPTIONS[(number + place) % 100] for place in range(5)))

    def __iter__(self) -> Iterator[Photo]:
        return map(self.__getitem__, range(self.photos))


# Tests outside of `make test-fast`: they train, start processes, run notebooks or take longer than some seconds.
SLOW = (
    *("encoders/", "extending/", "golden/", "jobs/", "predict/", "runs/", "tasks/", "training/", "wiring/"),
    *(
        "core/test_hostile_system.py",
        "core/test_memory.py",
        "data/test_download.py",
        "data/test_feature_store.py",
        "data/test_module.py",
    ),
    *("speed/test_compiled.py", "speed/test_fast.py"),
    *("metrics/test_coco_caption.py", "metrics/test_java.py", "metrics/test_meteor.py", "metrics/test_answers.py"),
    *("web/", "core/test_system.py", "text/test_words.py", "data/test_captions_to_questions.py"),
    *("test_coco_caption_classes.py", "test_fuzz.py"),
    *("test_benchmarks.py", "test_docs.py", "test_lint.py", "test_notebooks.py", "test_security.py"),
)
QUICK = (
    "jobs/test_score.py",
    "training/test_objectives.py",
    "training/test_chunked.py",
    "training/test_self_critical.py",
)  # in slow folders


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the slow tests and put them first, so that no worker is left with them; benchmarks mark themselves."""
    for item in items:
        name = item.path.relative_to(Path(__file__).parent).as_posix()
        if name.startswith("benchmarks/"):
            continue
        if item.get_closest_marker("java") or (name.startswith(SLOW) and not name.startswith(QUICK)):
            item.add_marker(pytest.mark.slow)
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


@pytest.fixture(scope="session")
def made_up() -> Callable[[int], TokenizedCaptions]:
    """A function from a number of images to their captions, five of ten words each, referenced nowhere else."""
    vocabulary = Vocabulary([*SPECIAL, *WORDS])
    return lambda photos: TokenizedCaptions.of(MadeUp(photos), vocabulary, max_words=30)


@pytest.fixture(scope="session")
def in_child() -> Callable[..., "subprocess.CompletedProcess[str]"]:
    """A function that runs lines of ``captioning …`` in a fork of this process, in which torch is imported already.

    ``in_child(["train", …], ["evaluate", …], cwd=folder)``; after each line that succeeds, its output ends with a null
    character; the first line that fails is the last. ``before`` is called in the child first: for limits, or another
    user.
    """

    def run(
        *lines: Sequence[object], cwd: Path, before: Callable[[], object] | None = None
    ) -> "subprocess.CompletedProcess[str]":
        with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
            child = os.fork()
            if not child:
                _run_lines(lines, cwd, out.fileno(), err.fileno(), before)
            _, status = os.waitpid(child, 0)
            out.seek(0), err.seek(0)
            return subprocess.CompletedProcess(lines, os.waitstatus_to_exitcode(status), out.read(), err.read())

    return run


def _run_lines(
    lines: Sequence[Sequence[object]], cwd: Path, out: int, err: int, before: Callable[[], object] | None
) -> None:
    """Run command lines as ``python -m captioning`` does, and end the process."""
    status = 1
    try:
        signal.alarm(300)
        os.dup2(out, 1), os.dup2(err, 2)
        sys.stdout, sys.stderr = io.TextIOWrapper(io.FileIO(1, "w")), io.TextIOWrapper(io.FileIO(2, "w"))
        os.chdir(cwd)
        sys.argv, sys.path = ["captioning"], [str(cwd), *sys.path]
        logging.getLogger().handlers.clear()
        warnings.resetwarnings()
        for kind in (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning):
            warnings.simplefilter("ignore", kind)
        if before is not None:
            before()
        for line in lines:
            status = captioning.__main__.main([str(each) for each in line])
            if status:
                break
            print(end=chr(0))
    except SystemExit as exit:
        status = exit.code if isinstance(exit.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush(), sys.stderr.flush()
        os._exit(status)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real data beside the checkout; the test skips if the folder is absent."""
    folder = Path(__file__).resolve().parents[2] / "shared"
    if not folder.is_dir():
        pytest.skip("needs the folder of real data (../shared), which is not here")
    return folder


@pytest.fixture(scope="session")
def tiny_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixteen images of one colour each, with two captions, as own data (JSONL): 10 train, 3 val, 3 test."""
    folder = tmp_path_factory.mktemp("tiny")
    colours = {"red": (220, 30, 30), "green": (30, 200, 40), "blue": (40, 60, 220), "white": (250, 250, 250)}
    rng = np.random.default_rng(0)
    lines = []
    for number in range(16):
        name, rgb = list(colours.items())[number % 4]
        noise = rng.integers(-20, 20, (40, 48, 3))
        pixels = (np.array(rgb) + noise).clip(0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
        split = "train" if number < 10 else "val" if number < 13 else "test"
        for caption in (f"A {name} picture.", f"all of it is {name}"):
            lines.append(json.dumps({"image": f"{number}.png", "caption": caption, "split": split}))
    (folder / "captions.jsonl").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture(scope="session")
def tiny_settings(tiny_data: Path) -> list[str]:
    """Overrides of a run that takes a second, for fixtures that choose the run's folders themselves."""
    return [*TINY, f"data.root={tiny_data}"]


@pytest.fixture
def tiny(tiny_data: Path, tmp_path: Path) -> Callable[..., list[str]]:
    """Overrides of a run that takes a second: ``tiny("seed=2")``."""
    places = [f"data.root={tiny_data}", f"data.features_root={tmp_path / 'features'}", f"out={tmp_path / 'runs'}"]

    def overrides(*more: str) -> list[str]:
        return [*TINY, *places, *more]

    return overrides
