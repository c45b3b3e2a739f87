"""A run's folder, which documents the whole run.

``config.yaml`` (resolved), ``inputs.json`` (digests of the inputs), ``checkpoints/best.ckpt`` and ``last.ckpt``,
``metrics.csv``, ``curves.png``, ``train.log``; from the evaluation ``captions_test.json`` (COCO's results format),
``references_test.json``, ``scores_test.json`` and ``captions_test.png``; for a language model ``samples.txt``; and at
the very end ``summary.json`` and ``report.html``. ``.captioning`` marks the folder as this program's; ``.lock`` is
locked during a run.
"""

import hashlib
import logging
import math
import re
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from pytorch_lightning.utilities import rank_zero_only

from captioning.core.errors import CaptioningError
from captioning.core.files import atomic_write, read_json, remove_unfinished, write_error, write_json
from captioning.core.locks import HeldError, lock
from captioning.core.ownership import claim, is_ours, refuse_foreign
from captioning.runs.earlier import is_of_version_1, upgraded
from captioning.runs.metrics_file import read_metrics
from captioning.runs.monitor import Monitor
from captioning.runs.places import BEST, LAST
from captioning.runs.settings import differences, epochs_of, essence, those_of

log = logging.getLogger(__name__)

PLACES = ("root", "file", "images", "text")  # paths of ``data``, for the message about differing contents

TRAINED = (
    *("config.yaml", "inputs.json", "checkpoints", "tensorboard", "metrics.csv", "curves.png", "samples.txt"),
    *("summary.json", "report.html", "failed.txt", "wandb", "mlflow.db", "mlruns"),
)
SAID = ("train.log", "train_rank_*.log", ".hydra")  # logs of every attempt
EVALUATED = tuple(
    f"{what}_{split}.*"
    for what in ("captions", "references", "scores", "answers")
    for split in ("train", "val", "test")
)


def folder_name(text: str) -> str:
    """The folder name for a text such as ``decoder=lrcn,seed=1``; different texts have different names.

    File systems limit names to 255 bytes. A name that differs from the text ends in a hash of the text. A text that
    looks like such a name gets a hash, too.
    """
    name = re.sub(r"[^\w.,=+-]+", "_", text, flags=re.ASCII)
    if name == text and len(text) <= 200 and not re.fullmatch(r"\.|\.\.|default|.*_[0-9a-f]{12}", text):
        return text or "default"
    return f"{name[:180]}_{hashlib.sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()[:12]}"


class FolderError(CaptioningError):
    """The run's folder holds another run or is in use, and must not be changed."""


class RunFolder:
    """The folder of one run."""

    def __init__(self, folder: str | Path) -> None:
        """Take the folder, which need not exist."""
        self.folder = Path(folder)
        self.config = self.folder / "config.yaml"
        self.inputs = self.folder / "inputs.json"
        self.last = self.folder / "checkpoints" / LAST
        self.best_file = self.folder / "checkpoints" / BEST
        self.metrics = self.folder / "metrics.csv"
        self.curves = self.folder / "curves.png"
        self.samples = self.folder / "samples.txt"
        self.summary_file = self.folder / "summary.json"
        self.failure = self.folder / "failed.txt"

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Lock the folder for this run during the block, and write log messages to the folder's ``train.log``.

        The first rank holds the lock for all ranks.

        Raises:
            FolderError: another process holds the lock, or the folder holds foreign files.
        """
        with ExitStack() as held:
            try:
                self._look()
                self.folder.mkdir(parents=True, exist_ok=True)
                if rank() == 0:
                    held.enter_context(lock(self.folder / ".lock"))
                # Every rank claims the folder: the first rank to arrive starts its log in a marked folder.
                claim(self.folder, "run", "a run", names=())  # the content has been checked
            except HeldError as error:
                raise FolderError(f"{error} Wait for it, or give this run a name of its own (name=…).") from error
            except CaptioningError as error:
                raise FolderError(str(error)) from error
            except OSError as error:
                raise write_error(self.folder, error) from error
            if rank() > 0:
                held.enter_context(_log_to(self.folder / f"train_rank_{rank()}.log"))
                yield
                return
            held.enter_context(_log_to(self.folder / "train.log"))
            for folder in (self.folder, self.last.parent):
                remove_unfinished(folder)
            yield

    def _look(self) -> None:
        """Refuse a foreign folder, or a folder in which a file of the run is a link to another place."""
        if not self._is_ours():
            try:
                refuse_foreign(self.folder, "a run", (*TRAINED, *SAID))
            except CaptioningError:
                if not self._is_ours():  # another process has meanwhile begun a run here
                    raise
        links = [name for name in (*TRAINED, *SAID, ".lock") for path in self.folder.glob(name) if path.is_symlink()]
        if links:
            raise CaptioningError(
                f"{self.folder}: {', '.join(links)} in it is a link, and what is written to it would change another "
                "place. Choose another folder (name=…, out=…)."
            )

    def _is_ours(self) -> bool:
        return is_ours(self.folder, "run") or self._is_of_an_earlier_version()

    def compare_settings(self, config: Mapping[str, Any]) -> None:
        """Compare a run's settings with those of the folder's run.

        Raises:
            FolderError: a setting that affects training differs.
        """
        if not (config["resume"] and self.config.exists()):
            return
        before, now = essence(self._before()), essence(config)
        if self._is_of_version_1():  # version 1 had fewer settings
            now = those_of(before, now)
        odd = differences(before, now)
        if odd and not (self.finished and all(each.startswith("search.") for each in odd) and not self.goes_on(config)):
            raise FolderError(
                f"{self.folder}: holds a run of other settings ({'; '.join(odd[:5])}). "
                "Give this run a name of its own (name=…), or begin anew in this folder with resume=false."
            )

    def compare_inputs(self, config: Mapping[str, Any], inputs: Mapping[str, str]) -> None:
        """Compare a run's inputs with those of the folder's run; moved data count as equal.

        Args:
            config: the run's configuration.
            inputs: the digests of the run's inputs, by name, see ``captioning.tasks.inputs``.

        Raises:
            FolderError: the data or another input differ.
        """
        if not (config["resume"] and self.config.exists()):
            return
        before, now = self._before()["data"], config["data"]
        moved = [key for key in PLACES if before.get(key) != now.get(key)]
        said = [f"data.{key}: {before.get(key)}, now {now.get(key)}" for key in moved]
        if not self.inputs.exists():
            if moved and (self.finished or self.last.exists()):
                raise FolderError(
                    f"{self.folder}: holds a run without a record of what it read (an earlier version's), and the data "
                    f"are at another place ({'; '.join(said)}): nothing tells whether they are the same. Give them "
                    "their former place for once, or begin anew in this folder with resume=false."
                )
            return
        known = read_json(self.inputs, "record of what a run read")
        if not isinstance(known, dict) or (inputs and not inputs.keys() & known.keys()):
            raise CaptioningError(f"{self.inputs}: this is no record of what a run read. Begin anew with resume=false.")
        odd = [name for name, digest in inputs.items() if known.get(name, digest) != digest]
        if "photographs" in odd and "splits" in odd:
            odd.remove("splits")  # also a digest of photographs
        if odd:
            said += [f"the {name} have changed" for name in odd]
            raise FolderError(
                f"{self.folder}: holds a run on other data ({'; '.join(said)}). "
                "Give this run a name of its own (name=…), or begin anew in this folder with resume=false."
            )

    def begin(self, config: Mapping[str, Any]) -> Path | None:
        """Begin or resume the run, after ``compare_settings`` and ``compare_inputs``.

        Returns:
            The checkpoint to resume from, or None for a new run.

        Raises:
            CaptioningError: the run has been trained, but its last checkpoint is missing.
        """
        if rank() > 0:
            return self.last if config["resume"] and self.last.exists() else None
        if not config["resume"]:
            self._move_aside()
        if self.last.exists():
            return self.last
        if self.finished or any(row.get("epoch", 0) >= 1 for row in read_metrics(self.metrics)):
            raise CaptioningError(
                f"{self.last}: this file is missing, without which the run can't go on. Bring it back, or begin anew "
                "with resume=false."
            )
        for file in (self.best_file, self.metrics, self.samples):  # leftovers of an attempt without a checkpoint
            file.unlink(missing_ok=True)
        return None

    def bind(self, config: Mapping[str, Any], inputs: Mapping[str, str]) -> None:
        """Record the settings and inputs of the run; from then on the folder belongs to this run alone."""
        if rank() > 0:
            return
        for file in (self.summary_file, self.failure):
            file.unlink(missing_ok=True)
        with atomic_write(self.config) as written:
            written.write(OmegaConf.to_yaml(OmegaConf.create(dict(config))))
        write_json(self.inputs, dict(inputs))

    def keep_record(self, record: Mapping[str, str]) -> None:
        """Write Hydra's record of the command, by file name, to ``.hydra``."""
        if rank() == 0:
            for name, text in record.items():
                with atomic_write(self.folder / ".hydra" / name) as record_file:
                    record_file.write(text)

    def release(self) -> None:
        """Unbind the folder from its settings after a failure before the first checkpoint: settings may then change."""
        if rank() == 0 and not self.last.exists():
            for file in (self.config, self.inputs):
                file.unlink(missing_ok=True)

    @property
    def finished(self) -> bool:
        """True if the run is finished."""
        return self.summary_file.exists()

    @property
    def tested(self) -> bool:
        """True if the test split of a finished run was scored."""
        return any(name.startswith("test/") for name in self.read_summary())

    @property
    def search(self) -> Any:
        """The configuration of the search with which the folder's run was validated and scored."""
        return self._before()["search"]

    def goes_on(self, config: Mapping[str, Any]) -> bool:
        """True if a finished run should train further: for more epochs, or with more patience."""
        before = self._before()
        if epochs_of(before) < epochs_of(config):
            return True
        patience = [math.inf if each["patience"] is None else each["patience"] for each in (before, config)]
        trained = self.read_summary().get("epochs", 0)
        return bool(patience[1] > patience[0] and trained < epochs_of(config))

    def _before(self) -> Any:
        """The configuration of the folder's run.

        Raises:
            CaptioningError: the file is damaged.
        """
        try:
            before = OmegaConf.to_container(OmegaConf.load(self.config))
            essence(upgraded(before))  # type: ignore[arg-type]
        except Exception as error:
            raise CaptioningError(
                f"{self.config}: not a configuration that can be read. Give this run a name of its own (name=…), or "
                "begin anew in this folder with resume=false."
            ) from error
        return upgraded(before)  # type: ignore[arg-type]

    def _is_of_version_1(self) -> bool:
        before = OmegaConf.to_container(OmegaConf.load(self.config))
        return isinstance(before, dict) and is_of_version_1(before)  # type: ignore[arg-type]

    def _is_of_an_earlier_version(self) -> bool:
        """True if a version without marks wrote this folder: the configuration's content is that of a run."""
        try:
            config = OmegaConf.to_container(OmegaConf.load(self.config))
        except Exception:
            return False
        ours = {"choices", "data", "decoder", "checkpoint_minutes", "monitor", "trainer"}
        return isinstance(config, dict) and ours <= config.keys() and (self.folder / "train.log").exists()

    def _move_aside(self) -> None:
        """Move all files of an earlier run in this folder to ``earlier/N``, so that no file mixes with the new run."""
        ours = (*TRAINED, *EVALUATED)
        there = [path for path in sorted(self.folder.iterdir()) if any(path.match(pattern) for pattern in ours)]
        if not there:
            return
        aside = next(path for n in count(1) if not (path := self.folder / "earlier" / str(n)).exists())
        try:
            aside.mkdir(parents=True)
            for path in there:
                path.rename(aside / path.name)
        except OSError as error:
            raise write_error(aside, error) from error
        log.info("%s: what an earlier run has left is now in %s.", self.folder, aside)

    def finish(
        self,
        config: Mapping[str, Any],
        monitor: Monitor,
        scores: Mapping[str, float],
        seconds: float,
        parameters: int,
        memory: Mapping[str, int] | None = None,
    ) -> None:
        """Mark the run as finished, with the values for a table of runs.

        Args:
            config: the run's configuration.
            monitor: the measurement that chose the best checkpoint.
            scores: the scores of the test split; empty without a test.
            seconds: the duration of training and validation, over all resumptions.
            parameters: the number of trained parameters.
            memory: the largest memory in MB, see ``captioning.core.memory.largest``.
        """
        every = read_metrics(self.metrics)
        best = monitor.best([row for row in every if monitor.key in row])
        write_json(
            self.summary_file,
            {
                **config["choices"],
                "seed": config["seed"],
                "epochs": int(max((row.get("epoch", 0) for row in every), default=-1)) + 1,  # validated or not
                "best_epoch": int(best.get("epoch", 0)) + 1,
                "seconds": round(seconds),
                "parameters": parameters,
                **(memory or {}),
                **{name: value for name, value in best.items() if name.startswith("val/")},
                **{f"test/{name}": value for name, value in scores.items()},
            },
        )

    def read_summary(self) -> dict[str, Any]:
        """The summary of a finished run.

        Raises:
            CaptioningError: the file is damaged.
        """
        found = read_json(self.summary_file, "summary of a run")
        kinds = dict.fromkeys(("epochs", "best_epoch", "seconds", "parameters"), (int,))
        if not isinstance(found, dict) or not all(
            type(value) in kinds.get(name, (int, float) if name.startswith(("val/", "test/")) else (type(value),))
            for name, value in found.items()
        ):
            raise CaptioningError(f"{self.summary_file}: this is no summary of a run. Delete it to have it made again.")
        return found

    def add_scores(self, scores: Mapping[str, float]) -> None:
        """Add scores of the test split to the summary of a finished run."""
        write_json(
            self.summary_file,
            {**self.read_summary(), **{f"test/{name}": value for name, value in scores.items()}},
        )

    def summary(self, monitor: Monitor) -> str:
        """The measurements of a finished run, in one line."""
        values = self.read_summary()
        split = "test/" if any(name.startswith("test/") for name in values) else "val/"
        scores = {name: value for name, value in values.items() if name.startswith(split) and name != "val/nll"}
        return ", ".join(f"{name} {monitor.text(name, value)}" for name, value in scores.items())

    def best(self, monitor: Monitor) -> float:
        """The best value of a measurement on the validation split so far; of a finished run that of its summary."""
        if self.finished and monitor.key in (summary := self.read_summary()):
            return float(summary[monitor.key])
        return monitor.best(read_metrics(self.metrics)).get(monitor.key, float("nan"))


def rank() -> int:
    """The rank of this process among the processes that train one model."""
    number: int = rank_zero_only.rank  # type: ignore[attr-defined]
    return number


@contextmanager
def _log_to(path: Path) -> Iterator[None]:
    """Append log messages, and the error that ends the block, to a file."""
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("[%(asctime)s][%(name)s][%(levelname)s] - %(message)s"))
    logging.getLogger().addHandler(handler)
    try:
        yield
    except Exception as error:
        handler.handle(log.makeRecord(log.name, logging.ERROR, __file__, 0, "%s", (error,), None))
        raise
    finally:
        logging.getLogger().removeHandler(handler)
        handler.close()
