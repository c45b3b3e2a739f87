"""Kills runs of this program at random moments, and shows that restarted runs end as if never killed.

    python tests/kills.py --kills 200 --seed 0 [--only KIND,…] [--table FILE] [--jobs 2]

A trial starts a command, kills the command's process group (SIGKILL), restarts the command, and so on for one to four
kills, then lets the command end. The trial's folder must equal the reference, the folder of the same command without a
kill. A kind's first trial has no kill: if that trial differs, the command itself is not reproducible.

A command is a fork of this process, which has imported everything and has one thread, so that the command starts at
once. Two kinds are real processes: forks share the seed of ``hash(str)``, and write more often (``OFTEN``).
"""

import os

os.environ |= {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}

import captioning.__main__ as program  # isort: skip

import argparse
import atexit
import csv
import hashlib
import importlib
import json
import pkgutil
import random
import re
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import timm  # noqa: F401
import torch
import torch.utils.tensorboard
from conftest import TINY

OFTEN = {"captioning.data.extraction": "COMMIT_SECONDS", "captioning.runs.metrics_file": "SECONDS"}  # between writes
UNREAD = re.compile(r"\.hydra|\.log$|multirun\.yaml$|tfevents$|lock$|\.captioning$")  # must exist, with any content
CONTENT = re.compile(r"\.ckpt$|summary\.json$|table\.csv$")  # files whose bytes may differ
EVENTS = re.compile(r"(?<=tfevents)\..*")  # in the names of Tensorboard's files: each attempt writes one more file
CHANCE = re.compile(EVENTS.pattern + r"|\.captioning-[0-9a-f]{8}|(?<=\.)\d{2,}(?=\.)")  # the random parts of all names
APART = re.compile(r"^/loops/|^/callbacks/Timer|/current_score$|/seconds$")  # keys of CONTENT that need not be equal
READ: dict[str, Callable[[Path], Any]] = {  # the content of files as mappings and sequences
    ".ckpt": lambda path: torch.load(path, weights_only=True, map_location="cpu"),
    ".json": lambda path: json.loads(path.read_text()),
    ".csv": lambda path: {next(iter(row.values())): row for row in csv.DictReader(path.read_text().splitlines())},
    ".npy": lambda path: [row.tobytes() for row in np.load(path)],
    ".png": lambda path: {},
}
SCENES = "data=scenes data.root=../../data/scenes data.count=96 data.features_root=features"
LITTER = "litter: "


class Kind(NamedTuple):
    """A command that runs in a folder beside ``../data``, after ``before`` has run in ``../before``."""

    name: str
    command: str
    process: bool = False
    before: "Kind | None" = None


class Moment(NamedTuple):
    """The moment of a kill: some seconds after the start, or after the n-th change of a file."""

    seconds: float
    file: str = ""
    nth: int = 0

    def __str__(self) -> str:
        return f"{1000 * self.seconds:.0f} ms after {f'{self.file[-60:]} ({self.nth})' if self.file else 'the start'}"


@dataclass
class Trial:
    """A run, the run's kills, the differences and ``LITTER`` found, and the number of changes of each file."""

    folder: Path
    kills: list[Moment] = field(default_factory=list)
    found: list[str] = field(default_factory=list)
    changes: Counter[str] = field(default_factory=Counter)

    def __str__(self) -> str:
        end = [str(self.folder), *self.found[:12], f"{len(self.found)} in all"] if self.found else ["equal"]
        return f"killed {'; '.join(map(str, self.kills)) or 'never'}: " + "\n    ".join(end)


def kills_of(trials: Sequence[Trial]) -> int:
    return sum(len(trial.kills) for trial in trials)


def captioner(name: str, *more: str, workers: int = 0, minutes: float = 0, process: bool = False) -> Kind:
    run = f"{SCENES} data.workers={workers} checkpoint_minutes={minutes} out=runs name=run"
    small = "data.batch_size=8 data.captions_per_photo=1 trainer.max_epochs=3"
    small += "" if "encoder=timm" in " ".join(more) else " encoder.last_stage=layer1"
    return Kind(name, " ".join(["train", *TINY, run, small, *more]), process)


def text(name: str, *more: str) -> Kind:
    data = "data.text=../../data/verse.txt data.batch_size=3 data.chunk=16 data.sample_every=3 decoder.depth=1"
    small = "decoder.hidden_size=12 trainer.enable_progress_bar=false search.max_length=20 ema_decay=null"
    run = "out=runs name=run logger=csv trainer.max_epochs=3 trainer.accelerator=cpu trainer.log_every_n_steps=1"
    return Kind(name, " ".join(["train experiment=char_rnn", data, small, run, *more]))


def kinds() -> list[Kind]:
    soft, run = (
        "decoder=show_attend_tell",
        "../before/runs/run data.root=../../data/scenes data.count=96 data.features_root=features",
    )
    tuned = "encoder=timm encoder.name=mobilenetv3_small_050 encoder.weights=null encoder.finetune_from=blocks.5"
    return [
        Kind("scenes", "prepare data=scenes data.root=scenes data.count=96"),
        Kind("features", f"prepare {SCENES} encoder.image_size=96 --features pooled --features grid"),
        captioner("soft-attention", soft, "scheduler=cosine"),
        captioner("soft-attention-1-worker", soft, "scheduled_sampling=linear", workers=1, minutes=0.002),
        captioner("soft-attention-2-workers", soft, "patience=2", workers=2),
        captioner("soft-attention-4-workers", soft, workers=4, minutes=0.002),
        captioner("hard-attention", soft, "decoder.attention=hard", workers=2),
        captioner("drawn-captions", "search=sample search.seed=null", minutes=0.002),
        text("text", "checkpoint_minutes=0"),
        text("text-accumulated", "checkpoint_minutes=0.002 trainer.accumulate_grad_batches=2"),
        captioner("fine-tuned", soft, tuned, "encoder_lr=0.01 augmentation=standard", workers=2),
        captioner("half-precision", "trainer.precision=bf16-mixed", minutes=0.002),
        captioner("mean-weights", "ema_decay=0.9 cell=gru"),
        captioner("tensorboard", "logger=default cell=rnn"),
        captioner("sweep", "cell=lstm,gru seed=1,2 trainer.max_epochs=2 -m", minutes=0.002),
        Kind("evaluate", f"evaluate {run} --split val --out scores", before=captioner("trained", soft)),
        captioner("process", soft, workers=2, minutes=0.002, process=True),
        captioner("two-ranks", "trainer.devices=2 trainer.strategy=ddp", process=True),
    ]


def import_everything() -> None:
    for module in pkgutil.walk_packages(sys.modules["captioning"].__path__, "captioning."):
        importlib.import_module(module.name)
    for name, constant in OFTEN.items():
        assert hasattr(sys.modules[name], constant), f"{name}.{constant} is no more, see OFTEN"
        setattr(sys.modules[name], constant, 0.05)
    torch.set_num_threads(1)


def start(kind: Kind, folder: Path) -> int:
    """Start the command in a new session, with its output in a file beside its folder."""
    folder.mkdir(parents=True, exist_ok=True)
    assert len(os.listdir("/proc/self/task")) == 1, "a process with threads must not fork"  # noqa: PTH208
    if pid := os.fork():
        return pid
    status: Any = 1
    try:
        os.setsid()
        log = os.open(f"{folder}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        os.dup2(log, 1), os.dup2(log, 2)
        os.chdir(folder)
        if kind.process:
            os.execv(sys.executable, [sys.executable, "-m", "captioning", *kind.command.split()])
        sys.argv = ["captioning", *kind.command.split()]
        random.seed(), np.random.seed()  # as in a new process
        status = program.main()
    except SystemExit as end:
        status = end.code
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:  # as at the end of an interpreter
        threading._shutdown()
        atexit._run_exitfuncs()
        sys.stdout.flush(), sys.stderr.flush()
        os._exit(status if isinstance(status, int) else int(status is not None))


def times(folder: str) -> Iterator[tuple[str, int]]:
    """Names and times of the files in a folder, except images and files that are written once."""
    for place, _, names in os.walk(folder):
        for path in (f"{place}/{name}" for name in ["", *names] if not name.endswith((".png", ".yaml", ".log"))):
            with suppress(FileNotFoundError):
                yield CHANCE.sub("", path[len(folder) + 1 :]), Path(path).stat().st_mtime_ns


def alive(session: int, folder: Path) -> Iterator[int]:
    """The processes of a session, and the processes with a folder as working directory."""
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # the process has ended, or is another user's
            state, _, _, its_session = (process / "stat").read_text().rpartition(")")[2].split()[:4]
            if state not in "ZX" and (int(its_session) == session or (process / "cwd").readlink() == folder):
                yield int(process.name)


def attempt(kind: Kind, trial: Trial, limit: float, moment: Moment | None = None) -> Generator[None, None, int]:
    """Run the command once, and return its exit status; -9 after a kill."""
    folder, before, status = trial.folder, trial.changes.copy(), None
    seen = set(times(str(folder)))
    pid, began = start(kind, folder), time.monotonic()
    due = began + (moment.seconds if moment and not moment.file else limit)
    try:
        while status is None:
            now = time.monotonic()
            if now >= due:
                with suppress(ProcessLookupError):  # the process has no session yet
                    os.killpg(pid, signal.SIGKILL)
            else:
                known, seen = seen, set(times(str(folder)))
                trial.changes.update(name for name, _ in seen - known)
                if moment and moment.file and (trial.changes - before)[moment.file] >= moment.nth:
                    due = min(due, now + moment.seconds)
            yield
            code = os.waitpid(pid, os.WNOHANG)
            status = os.waitstatus_to_exitcode(code[1]) if code[0] else None
        last = time.monotonic() + 8  # seconds, in which the run's child processes must end, too
        while (left := list(alive(pid, folder))) and time.monotonic() < last:
            yield
    finally:
        for process in ([-pid] if status is None else []) + list(alive(pid, folder)):
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
    trial.found += [f"{LITTER}process {process}" for process in left]
    if now >= began + limit:
        trial.found.append(f"no end in {limit:.0f} s")
    elif status and not (moment and status == -signal.SIGKILL):
        said = Path(f"{folder}.log").read_text(errors="replace").strip().splitlines()[-1:]
        trial.found.append(f"exit status {status}: {''.join(said)}")
    elif moment and status:
        trial.kills.append(moment)
    return status


def shake(kind: Kind, work: Path, kills: int, seed: int, trials: list[Trial]) -> Generator[None, None, None]:
    """Make the trials of a kind."""
    work, rng = work / kind.name, random.Random(f"{seed} {kind.name}")
    if kind.before:
        yield from attempt(kind.before, Trial(work / "before"), 600)
    reference, began = Trial(work / "reference"), time.monotonic()
    yield from attempt(kind, reference, 600)
    duration = time.monotonic() - began
    if reference.found:
        trials.append(reference)
        return print(f"{kind.name}: {reference}", flush=True)
    while len(trials) <= 3 * kills and (left := kills - kills_of(trials)) > 0:
        trial = Trial(work / f"trial{len(trials)}")
        planned, status = min(rng.randint(1, 4), left) if trials else 0, -signal.SIGKILL
        while status == -signal.SIGKILL and not trial.found:
            moment = draw(rng, duration, reference.changes, trial.changes) if len(trial.kills) < planned else None
            status = yield from attempt(kind, trial, 60 + 20 * duration, moment)
        trial.found += [] if trial.found else compare(reference.folder, trial.folder)
        trials.append(trial)
        print(f"{kind.name}: {trial}", flush=True)
        if not trial.found:
            shutil.rmtree(trial.folder)


def draw(rng: random.Random, duration: float, changes: Counter[str], done: Counter[str]) -> Moment:
    """A moment: more often right after a file's change, all changes as likely, else anywhere in the rest of a run."""
    left = changes - done
    if left and rng.random() < 0.6:
        file = rng.choice(sorted(name for name in left if name.startswith("runs/")) or sorted(left))
        return Moment(0.05 * rng.random() ** 3, file, rng.randint(1, left[file]))
    return Moment(duration * rng.random() * max(0.1, left.total() / max(1, changes.total())))


def compare(reference: Path, folder: Path) -> list[str]:
    """The differences between two folders: the first two of each file, and the files that only the second has."""
    theirs, ours = (
        {EVENTS.sub("", path.relative_to(root).as_posix()) for path in root.rglob("*") if "digests" not in path.parts}
        for root in (reference, folder)
    )
    found = [f"{name}: missing" for name in sorted(theirs - ours)]
    for name in sorted(theirs & ours, key=lambda name: (not name.endswith(".csv"), name)):
        if not UNREAD.search(name) and (reference / name).is_file():
            odd = unequal(name, reference, folder)
            found += [f"{name}: {each}" for each in odd[:2]] + [f"{name}: {len(odd) - 2} more"] * (len(odd) > 2)
    return found + [f"{LITTER}{name}" for name in sorted(ours - theirs)]


def unequal(name: str, reference: Path, folder: Path) -> list[str]:
    """The differences between two files: by bytes, or by content for files that contain times or paths."""
    if (reference / name).read_bytes() == (folder / name).read_bytes():
        return []
    read = READ.get(Path(name).suffix, lambda path: path.read_text(errors="replace").splitlines())
    left, right = (flat(read(root / name), str(root)) for root in (reference, folder))
    odd = [key for key in left | right if left.get(key) != right.get(key) and not APART.search(key)]
    found = [f"{key}: {right.get(key, 'nothing'):.60} instead of {left.get(key, 'nothing'):.60}" for key in odd]
    return found or ([] if CONTENT.search(name) else ["other bytes"])


def flat(value: Any, root: str, key: str = "") -> dict[str, str]:
    """A flat mapping, ``{"a": [1, 2]}`` as ``{"/a/0": "1", "/a/1": "2"}``; arrays as hashes, without ``root``."""
    if isinstance(value, Mapping | list | tuple) and value:
        pairs = value.items() if isinstance(value, Mapping) else enumerate(value)
        return {inner: each for name, part in pairs for inner, each in flat(part, root, f"{key}/{name}").items()}
    if isinstance(value, torch.Tensor):
        value = f"{value.dtype} {value.shape}".encode() + value.reshape(-1).view(torch.uint8).numpy().tobytes()
    if isinstance(value, bytes):
        value = hashlib.sha256(value).hexdigest()[:12]
    return {key.replace(root, ""): repr(value).replace(root, "")}


def table(every: Mapping[str, Sequence[Trial]]) -> str:
    lines = ["| run | trials | kills | trials that differ | with litter |", "| --- | ---: | ---: | ---: | ---: |"]
    for name, trials in [*every.items(), ("all", [trial for each in every.values() for trial in each])]:
        litter = sum(any(each.startswith(LITTER) for each in trial.found) for trial in trials)
        differ = sum(any(not each.startswith(LITTER) for each in trial.found) for trial in trials)
        lines.append(f"| {name} | {len(trials)} | {kills_of(trials)} | {differ} | {litter} |")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description="Kill runs at random moments, and compare how they end.")
    parser.add_argument("--kills", type=int, default=200, help="of all kinds together")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--only", help=",".join(kind.name for kind in kinds()))
    parser.add_argument("--jobs", type=int, default=1, help="kinds at a time")
    parser.add_argument("--table", type=Path, help="Markdown file for the table")
    options = parser.parse_args()
    chosen = [kind for kind in kinds() if not options.only or kind.name in options.only.split(",")]
    import_everything()
    work = Path(tempfile.mkdtemp(prefix="kills-")).resolve()
    for _ in attempt(kinds()[0], Trial(work / "data"), 600):
        time.sleep(0.01)
    (work / "data" / "verse.txt").write_text("Größe — ☃, naïve café; „sei still“!\n\tund 你好, ehe 3×4=12 is.\n" * 16)
    os.environ["TMPDIR"] = tempfile.tempdir = tempfile.mkdtemp(dir=work)  # for the sockets of killed processes
    every = {kind.name: list[Trial]() for kind in chosen}
    shares = [(options.kills + place) // len(chosen) for place in range(len(chosen))]
    tasks = zip(chosen, shares, every.values(), strict=True)
    waiting = [shake(kind, work, share, options.seed, trials) for kind, share, trials in tasks]
    began = time.monotonic()
    while waiting:
        for trials in waiting[: options.jobs]:
            if next(trials, waiting) is waiting:  # the kind's trials are done
                waiting.remove(trials)
                print(table(every), flush=True)
                if options.table:
                    options.table.write_text(table(every) + "\n")
        time.sleep(0.002)
    kills = sum(map(kills_of, every.values()))
    found = any(trial.found for trials in every.values() for trial in trials)
    print(f"{kills} of {options.kills} kills, {(time.monotonic() - began) / max(1, kills):.1f} s each")
    print(f"see {work}") if found else shutil.rmtree(work)
    return int(found or kills < options.kills)


if __name__ == "__main__":
    sys.path.pop(0)  # the folder of tests, which a command does not have
    sys.exit(main())
