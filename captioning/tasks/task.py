"""The protocol of tasks: kinds of systems, from data to scores, chosen by ``task=``.

A task is a folder of this package, or a user's own module (``task._target_=my_module.MyTask``). The run folder,
checkpoints, resuming, sweeps and the best checkpoint work in the same way for every task.
"""

from abc import abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch

from captioning.core.device import find_device
from captioning.core.errors import CaptioningError
from captioning.core.measure import Measure
from captioning.core.progress import progress
from captioning.core.sums import Sum
from captioning.metrics import Metric, build_metrics
from captioning.runs.checkpoint import Checkpoint, load_weights, read_checkpoint
from captioning.runs.monitor import Measuring
from captioning.training.module import TrainingModule


@dataclass(frozen=True)
class Prepared:
    """The model and the data of a run.

    Attributes:
        module: the untrained Lightning module.
        data: the batches; ``data.describe_batch(batch)`` describes a batch in words, and ``data.resumed`` takes the
            position of a resumed run, see ``captioning.data.module.ResumableData``.
        contents: plain values that a checkpoint keeps beside the weights, such as a vocabulary's words.
        size: the size of the data, as text.
    """

    module: TrainingModule
    data: pl.LightningDataModule
    contents: Mapping[str, Any]
    size: str


@dataclass(frozen=True)
class Evaluation:
    """The result of an evaluation.

    Attributes:
        scores: the scores by measure name, ×1.
        details: further content of the scores' file.
        lines: further lines of output.
        split: the scored split.
        measures: the measures of the scores, by name.
    """

    scores: dict[str, float]
    details: dict[str, Any] = field(default_factory=dict)
    lines: Sequence[str] = ()
    split: str = ""
    measures: Mapping[str, Measure] = field(default_factory=dict)


class Task(Measuring):
    """A kind of system.

    Attributes:
        splits: the splits that can be scored; the first one is the default.
        weighted: True if ``evaluate_ensemble`` takes ``weights``, the checkpoints' weights in the mean.
        takes_word_vectors: True if ``prepare`` sets an embedding of words to the vectors of ``word_vectors=``.
    """

    weighted: bool = False
    takes_word_vectors: bool = False

    splits: tuple[str, ...] = ("test", "val", "train")

    def __init__(self, config: Mapping[str, Any]) -> None:
        """Take the configuration of a run; settings of ``task`` are further arguments."""
        self.config = config

    @cached_property
    def metrics(self) -> list[Metric]:
        """The metrics of the configuration."""
        return build_metrics(self.config["metrics"])

    @abstractmethod
    def read_source(self) -> Any:
        """The data that ``data.source`` reads.

        Raises:
            CaptioningError: the data can't be read, or are of the wrong kind for this task.
        """

    def inputs(self, source: Any) -> dict[str, str]:
        """The digests of a run's inputs, by name: a run resumes only with equal inputs."""
        return {}

    def has(self, source: Any, split: str) -> bool:
        """True if a split has something to score."""
        splits = getattr(source, "splits", None)
        return split in self.splits and (not isinstance(splits, Mapping) or bool(splits.get(split)))

    @abstractmethod
    def prepare(self, source: Any, folder: Path, device: torch.device, initial: Checkpoint | None = None) -> Prepared:
        """Make the model to train, and its batches.

        Args:
            source: see ``read_source``.
            folder: the run's folder.
            device: the device on which missing features are computed.
            initial: the checkpoint whose weights the caller will load (that of ``init_from``, or the one to evaluate),
                for the parts that must be there before: the vocabulary, and the encoder whose features are stored.

        Raises:
            CaptioningError: the configuration does not fit the source.
        """

    def evaluate(
        self,
        checkpoint: Path,
        split: str,
        *,
        out: Path,
        device: str,
        source: Any = None,
        trust: Collection[str] = (),
        search: Any = None,
    ) -> Evaluation:
        """Score a checkpoint on a split: by default the means of the module's ``measured``.

        Args:
            checkpoint: a checkpoint file, or a run's folder.
            split: one of ``splits``.
            out: the folder of the files besides the scores.
            device: the device of the evaluation.
            source: see ``read_source``; by default read after the checkpoint is checked.
            trust: modules or classes outside this package that the checkpoint may name.
            search: the search for captions; by default the configuration's own.

        Raises:
            CaptioningError: the checkpoint or the split does not fit.
        """
        if search is not None:
            raise CaptioningError("This task is scored without a search: leave the options of a search out.")
        where = find_device(device)
        read = read_checkpoint(checkpoint, trust)
        prepared = self.prepare(self.source_of(split, source), out, where, read)
        load_weights(prepared.module, read.weights, read.path)
        module, data = prepared.module.to(where).eval(), prepared.data
        sums: dict[str, list[Sum]] = {}
        with torch.no_grad():
            for batch in progress(data.loader(split), f"measuring {split}", unit="batches"):  # type: ignore[attr-defined]
                for name, each in module.measured(batch.to(where), split).items():
                    sums.setdefault(name, []).append(each)
        return Evaluation({name: _mean(found) for name, found in sums.items()})

    def evaluate_ensemble(
        self,
        checkpoints: Sequence[Path],
        split: str,
        *,
        average: str,
        out: Path,
        device: str,
        source: Any = None,
        trust: Collection[str] = (),
        search: Any = None,
    ) -> Evaluation:
        """Score several checkpoints as one system; by default a task has no such systems.

        Args:
            checkpoints: checkpoint files, or runs' folders.
            split: one of ``splits``.
            average: the quantity that is averaged.
            out: the folder of the files besides the scores.
            device: the device of the evaluation.
            source: see ``read_source``.
            trust: modules or classes outside this package that the checkpoints may name.
            search: the search for captions; by default the configuration's own.

        Raises:
            CaptioningError: checkpoints or split do not fit, or the task has no ensembles.
        """
        raise CaptioningError("This task has no ensembles: evaluate one checkpoint at a time.")

    def source_of(self, split: str, source: Any = None) -> Any:
        """The given source, or else the data that ``data.source`` reads, checked to have something to score in a split.

        Raises:
            CaptioningError: the data can't be read, or the split is empty.
        """
        source = self.read_source() if source is None else source
        if not self.has(source, split):
            there = ", ".join(name for name in self.splits if self.has(source, name)) or "none"
            raise CaptioningError(f"The split {split!r} is empty or unknown here. Splits that can be scored: {there}.")
        return source


def _mean(sums: Sequence[Sum]) -> float:
    return sum(float(each.total) for each in sums) / max(sum(each.count for each in sums), 1)


def with_hint(error: CaptioningError, hint: str) -> CaptioningError:
    """The same error, with a hint if the data's source is one for another task."""
    return CaptioningError(f"{error} {hint}.") if "is not a function that returns" in str(error) else error
