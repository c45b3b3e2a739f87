"""A run's folder, which tells everything about it.

``config.yaml`` (resolved), ``checkpoints/best.ckpt`` and ``last.ckpt``, ``metrics.csv``, ``curves.png``, from the
evaluation ``captions_test.json`` (COCO's results format), ``references_test.json``, ``scores_test.json`` and
``captions_test.png``, of a language model ``samples.txt``, and at the very end ``summary.json``.
"""

import hashlib
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from captioning.core.errors import CaptioningError
from captioning.core.files import atomic_write, read_json, write_json
from captioning.training.checkpoint import LAST
from captioning.training.loggers import read_metrics
from captioning.training.monitor import Monitor, as_text

# What may differ when a run goes on: it does not change what is trained, only where, how long and what is said of it.
FREE = {"name", "choices", "out", "sweep", "resume", "test", "logger", "patience", "search"}
FREE |= {"checkpoint_minutes", "compile"}
FREE_DATA = {"root", "file", "images", "source", "workers", "features_root", "prepare", "text", "cache", "sample_every"}
FREE_TRAINER = {"accelerator", "enable_progress_bar", "log_every_n_steps", "enable_model_summary"}

FILES = ("summary.json", "metrics.csv", "curves.png", "failed.txt", "samples.txt")  # besides a split's, see ``_clear``


def folder_name(text: str) -> str:
    """A text such as ``decoder=lrcn,data.root=a/b`` as the name of one folder, which file systems hold to 255 bytes."""
    name = re.sub(r"[^\w.,=+-]+", "_", text, flags=re.ASCII) or "default"
    return name if len(name) <= 200 else f"{name[:180]}_{hashlib.sha256(text.encode()).hexdigest()[:12]}"


class RunFolder:
    """The folder of one run."""

    def __init__(self, folder: str | Path) -> None:
        """Take the folder; it need not exist."""
        self.folder = Path(folder)
        self.config = self.folder / "config.yaml"
        self.last = self.folder / "checkpoints" / LAST
        self.metrics = self.folder / "metrics.csv"
        self.curves = self.folder / "curves.png"
        self.summary_file = self.folder / "summary.json"
        self.failure = self.folder / "failed.txt"

    def begin(self, config: Mapping[str, Any]) -> Path | None:
        """Begin the run, or go on with it.

        Returns:
            The checkpoint to resume from, or None for a new run.

        Raises:
            CaptioningError: the folder holds a run of other settings.
        """
        if config["resume"] and self.config.exists() and (self.last.exists() or self.finished):
            before: Any = OmegaConf.to_container(OmegaConf.load(self.config))
            odd = _differences(_essence(before), _essence(config))
            if odd:
                raise CaptioningError(
                    f"{self.folder}: holds a run of other settings ({'; '.join(odd[:5])}). "
                    "Give this run a name of its own (name=…), or begin anew in this folder with resume=false."
                )
            if self.finished and before["trainer"]["max_epochs"] < config["trainer"]["max_epochs"]:
                self.summary_file.unlink(missing_ok=True)  # the run goes on; another rank may have been first
        elif not config["resume"]:
            self._clear()
        with atomic_write(self.config) as file:
            file.write(OmegaConf.to_yaml(OmegaConf.create(dict(config))))
        return self.last if self.last.exists() else None

    @property
    def finished(self) -> bool:
        """Whether the run came to its end."""
        return self.summary_file.exists()

    def _clear(self) -> None:
        """Remove all that an earlier run in this folder wrote: nothing of it may be taken for the new one's."""
        for folder in (self.last.parent, self.folder / "tensorboard"):
            shutil.rmtree(folder, ignore_errors=True)
        for pattern in (*FILES, "*_train.*", "*_val.*", "*_test.*"):
            for file in self.folder.glob(pattern):
                file.unlink(missing_ok=True)

    def finish(self, config: Mapping[str, Any], scores: Mapping[str, float], seconds: float, parameters: int) -> None:
        """Mark the run as finished, with what a table of runs wants to know.

        Args:
            config: of the run.
            scores: of the test split; empty where it was not scored.
            seconds: of training and validation, over all resumptions.
            parameters: how many numbers were trained.
        """
        monitor = Monitor(config["monitor"])
        rows = [row for row in read_metrics(self.metrics) if monitor.key in row]
        best = monitor.best(rows)
        write_json(
            self.summary_file,
            {
                **config["choices"],
                "seed": config["seed"],
                "epochs": len(rows),
                "best_epoch": int(best.get("epoch", 0)) + 1,
                "seconds": round(seconds),
                "parameters": parameters,
                **{name: value for name, value in best.items() if name.startswith("val/")},
                **{f"test/{name}": value for name, value in scores.items()},
            },
        )

    def summary(self) -> str:
        """The measurements of a finished run in a line."""
        values = read_json(self.summary_file)
        split = "test/" if any(name.startswith("test/") for name in values) else "val/"
        scores = {name: value for name, value in values.items() if name.startswith(split) and name != "val/nll"}
        return ", ".join(f"{name} {as_text(name, value)}" for name, value in scores.items())

    def best(self, monitor: Monitor) -> float:
        """The best value of a measurement on the validation split so far."""
        return monitor.best(read_metrics(self.metrics)).get(monitor.key, float("nan"))


def _essence(config: Mapping[str, Any]) -> dict[str, Any]:
    """What makes a run what it is."""
    kept = {key: value for key, value in config.items() if key not in FREE}
    kept["data"] = {key: value for key, value in config["data"].items() if key not in FREE_DATA}
    # a schedule such as the cosine depends on the run's length: more epochs would make the learning rate jump
    constant = config["scheduler"]["_target_"].endswith(".constant")
    free = FREE_TRAINER | {"max_epochs"} if constant else FREE_TRAINER
    kept["trainer"] = {key: value for key, value in config["trainer"].items() if key not in free}
    return kept


def _differences(before: Mapping[str, Any], now: Mapping[str, Any], prefix: str = "") -> list[str]:
    """``decoder.depth: 1, now 2``, one for each setting that differs."""
    odd = []
    for key in sorted(before.keys() | now.keys()):
        old, new = before.get(key), now.get(key)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            odd += _differences(old, new, f"{prefix}{key}.")
        elif old != new:
            odd.append(f"{prefix}{key}: {old}, now {new}")
    return odd
