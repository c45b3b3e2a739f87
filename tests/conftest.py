"""Fixtures of all tests: the folder of real data, a tiny data set, and the settings of a tiny captioner.

torch is imported inside of functions: pytest-xdist's first process reads this file too, and runs no test.
"""

import captioning.__main__  # isort: skip  # before torch: threads must wait as in the commands

import gc
import importlib
import io
import json
import logging
import os
import pkgutil
import signal
import socket
import subprocess
import sys
import tempfile
import traceback
import warnings
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import cache
from itertools import islice, product
from pathlib import Path
from string import ascii_lowercase
from typing import TYPE_CHECKING, Any

import pytest

sys.path.append(str(Path(__file__).parent))

import shortcuts

if TYPE_CHECKING:
    from captioning.data.captions import TokenizedCaptions
    from captioning.data.feature_files import GrowingRows
    from captioning.data.photos import Photo

if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # a shell's job in the background, as in `make test &`
    signal.signal(signal.SIGINT, signal.default_int_handler)
os.environ["OMP_NUM_THREADS"] = "1"  # tests are small, and several processes of them may run at once
if "PYTEST_XDIST_WORKER" in os.environ:
    gc.disable()  # until everything is imported: what is imported stays

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


class MadeUp(Sequence["Photo"]):
    """Images with five captions of ten words, made on access."""

    def __init__(self, photos: int) -> None:
        self.photos = photos

    def __len__(self) -> int:
        return self.photos

    def __getitem__(self, number):
        from captioning.data.photos import Photo

        return Photo(number, Path("photo.jpg"), tuple(CAPTIONS[(number + place) % 100] for place in range(5)))

    def __iter__(self) -> "Iterator[Photo]":
        return map(self.__getitem__, range(self.photos))


HERE = Path(__file__).parent

# Tests outside of `make test-fast`: they train, start processes, run notebooks, or take longer than some seconds, as an
# import of Lightning or timm does.
SLOW = (
    *("encoders/", "extending/", "golden/", "jobs/", "predict/", "runs/", "tasks/", "training/", "web/", "wiring/"),
    *("core/test_hostile_system.py", "core/test_memory.py", "core/test_progress.py", "core/test_system.py"),
    *("core/test_texts.py",),
    *("data/test_augmentation.py", "data/test_captions_to_questions.py", "data/test_download.py"),
    *("data/test_feature_store.py", "data/test_module.py", "text/test_words.py"),
    *("speed/test_compiled.py", "speed/test_convolutions.py", "speed/test_fast.py"),
    *("metrics/test_coco_caption.py", "metrics/test_java.py", "metrics/test_meteor.py", "metrics/test_answers.py"),
    *("metrics/test_many_captions.py", "test_five_shapes.py", "bulk/"),
    *("test_coco_caption_classes.py", "test_fuzz.py", "test_readme.py"),
    *("test_benchmarks.py", "test_docs.py", "test_lint.py", "test_notebooks.py", "test_security.py"),
)
QUICK = (
    "jobs/test_score.py",
    "training/test_objectives.py",
    "training/test_chunked.py",
    "training/test_self_critical.py",
)  # in slow folders


# The tests that take longest, so that both workers end at about the same time.
LONGEST = (
    *("test_notebooks.py", "test_lint.py", "training/test_ranks.py", "golden/", "data/test_feature_store.py"),
    *("training/test_resume.py", "core/test_system.py", "extending/", "wiring/test_steps.py", "encoders/test_encoders"),
    *("runs/test_sweep.py", "training/test_cluster.py", "test_docs.py", "web/test_page.py", "wiring/"),
)


def is_slow(name: str) -> bool:
    """Whether a file of tests, named from this folder, is left out by ``make test-fast``."""
    return name.startswith(SLOW) and not name.startswith(QUICK)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave the slow files out before they are imported, where their tests would all be left out afterwards."""
    if config.option.markexpr != "not slow" or not collection_path.is_relative_to(HERE):
        return None
    name = collection_path.relative_to(HERE).as_posix()
    if collection_path.is_dir():
        return (f"{name}/" in SLOW and not any(each.startswith(f"{name}/") for each in QUICK)) or None
    return is_slow(name) or None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the slow tests, and put the longest first, then the other slow ones; benchmarks mark themselves."""

    def place(item: pytest.Item) -> int:
        name = item.path.relative_to(HERE).as_posix()
        if item.get_closest_marker("slow") is None:
            return len(LONGEST) + 1
        return next((number for number, each in enumerate(LONGEST) if name.startswith(each)), len(LONGEST))

    for item in items:
        name = item.path.relative_to(HERE).as_posix()
        if name.startswith("benchmarks/"):
            continue
        if item.get_closest_marker("java") or is_slow(name):
            item.add_marker(pytest.mark.slow)
    items.sort(key=place)


def pytest_collection_finish() -> None:
    shortcuts.take()
    gc.freeze()  # no collection looks at these objects again, in forks neither
    gc.enable()
    gc.set_threshold(20_000, 20, 50)  # collections took a twentieth of the time


@pytest.fixture
def no_doubles(monkeypatch: pytest.MonkeyPatch) -> type[Any]:
    """A context in which no operation may give numbers in double precision, which Apple's GPUs (mps) lack."""
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode

    from captioning.core import draw

    class NoDoubles(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, arguments=(), settings=None):
            found = function(*arguments, **(settings or {}))
            for each in found if isinstance(found, tuple | list) else [found]:
                assert not (isinstance(each, torch.Tensor) and each.dtype == torch.double), f"{function}: a double"
            return found

    monkeypatch.setattr(draw, "precise", lambda device: torch.float)
    return NoDoubles


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    import torch

    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def made_up() -> "Callable[[int], TokenizedCaptions]":
    """A function from a number of images to their captions, five of ten words each, referenced nowhere else."""
    from captioning.core.vocabulary import SPECIAL, Vocabulary
    from captioning.data.captions import TokenizedCaptions

    vocabulary = Vocabulary([*SPECIAL, *WORDS])
    return lambda photos: TokenizedCaptions.of(MadeUp(photos), vocabulary, max_words=30)


@pytest.fixture(scope="session")
def store_of_zeros() -> "Callable[..., GrowingRows]":
    """A function that makes a whole part of a feature store, of zeros that take no disk.

    Its arguments are the part's folder, the number of photographs and the shape of each one's features.
    """
    from captioning.data.digests import save_array
    from captioning.data.feature_files import CHECKSUMS, FORMAT, GrowingRows

    def make(folder: Path, photos: int, *shape: int) -> GrowingRows:
        rows = GrowingRows(folder, (photos, *shape))
        rows.begin()
        rows.checksums[:] = zlib.crc32(bytes(rows.bytes))
        save_array(folder / CHECKSUMS, rows.checksums)
        rows.finish({"format": FORMAT})
        return rows

    return make


Done = subprocess.CompletedProcess[str]


class Fork:
    """A function at work in a fork of this process, in which everything is imported already.

    The fork has a process group of its own. Its status is what the function returns, or 1 where it raises an exception.
    """

    def __init__(self, work: Callable[[], int], cwd: Path) -> None:
        _import_everything()
        self.out, self.err = tempfile.TemporaryFile("w+"), tempfile.TemporaryFile("w+")  # noqa: SIM115
        self.process = os.fork()
        if not self.process:
            os.setpgid(0, 0)
            _work_and_exit(work, cwd, self.out.fileno(), self.err.fileno())
        with suppress(OSError):  # in both processes: whoever is first
            os.setpgid(self.process, self.process)

    def running(self) -> bool:
        """Whether the fork is at work; once it is not, ``wait`` can't be called any more."""
        return os.waitpid(self.process, os.WNOHANG)[0] == 0

    def kill(self) -> None:
        """End the fork and the processes that it has started, at once."""
        os.killpg(self.process, signal.SIGKILL)
        self.wait()

    def wait(self) -> Done:
        """Wait for the end of the fork, and end what it may have left."""
        _, status = os.waitpid(self.process, 0)
        with suppress(ProcessLookupError):
            os.killpg(self.process, signal.SIGKILL)
        with self.out, self.err:
            self.out.seek(0), self.err.seek(0)
            return subprocess.CompletedProcess([], os.waitstatus_to_exitcode(status), self.out.read(), self.err.read())


@pytest.fixture(scope="session")
def start_fork() -> type[Fork]:
    """``start_fork(work, cwd=folder)`` calls ``work()`` in a fork of this process, beside the test."""
    return Fork


@pytest.fixture(scope="session")
def in_fork() -> Callable[..., Done]:
    """``in_fork(work, cwd=folder)`` calls ``work()`` in a fork of this process, and waits for its end."""
    return lambda work, cwd: Fork(work, cwd).wait()


@pytest.fixture(scope="session")
def in_child(in_fork: Callable[..., Done]) -> Callable[..., Done]:
    """A function that runs lines of ``captioning …`` in a fork of this process.

    ``in_child(["train", …], ["evaluate", …], cwd=folder)``; after each line that succeeds, its output ends with a null
    character; the first line that fails is the last. ``before`` is called in the child first: for limits, or another
    user.
    """

    def run(*lines: Sequence[object], cwd: Path, before: Callable[[], object] = int) -> Done:
        def work() -> int:
            before()
            return command_lines(*lines)

        return in_fork(work, cwd=cwd)

    return run


@pytest.fixture(scope="session")
def two_ranks() -> Callable[[Sequence[str]], Callable[[], int]]:
    """A function from overrides to work for a fork: ``torchrun --nproc_per_node=2 -m captioning train …``."""
    from lightning_fabric.utilities.rank_zero import rank_zero_only

    def train(overrides: Sequence[str]) -> int:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1])}
        os.environ |= {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "GROUP_RANK": "0", "TORCHELASTIC_RUN_ID": "here"}
        other = os.fork()
        signal.alarm(300)
        rank_zero_only.rank = 0 if other else 1  # Lightning looks for it when it is imported
        os.environ["RANK"] = os.environ["LOCAL_RANK"] = str(rank_zero_only.rank)
        status = captioning.__main__.main(["train", *overrides])
        return status or (os.waitstatus_to_exitcode(os.waitpid(other, 0)[1]) if other else 0)

    return lambda overrides: lambda: train(overrides)


def command_lines(*lines: Sequence[object]) -> int:
    """Run command lines as ``python -m captioning`` does."""
    status = 0
    for line in lines:
        status = captioning.__main__.main([str(each) for each in line])
        if status:
            break
        print(end=chr(0))
    return status


@cache
def _import_everything() -> None:
    """Import what command lines import, once for all forks."""
    for module in pkgutil.walk_packages(sys.modules["captioning"].__path__, "captioning."):
        if not module.name.startswith("captioning.web"):
            with suppress(ImportError):
                importlib.import_module(module.name)
    import torchvision  # noqa: F401
    from hydra.core.plugins import Plugins

    Plugins.instance()  # it imports the launchers and sweepers
    shortcuts.take()


def _work_and_exit(work: Callable[[], int], cwd: Path, out: int, err: int) -> None:
    """Call a function as in a process of its own, and end the process."""
    status = 1
    shortcuts.IN_CHILD.append(True)
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
        status = work()
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
    import numpy as np
    from PIL import Image

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
