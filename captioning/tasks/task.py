"""What a task is: a kind of system, from what it reads to how it is scored, chosen by ``task=``.

A task is a folder of this package, or a module of a user's own (``task._target_=my_module.MyTask``). What a run does
beside (its folder, checkpoints, resuming, sweeps, the best checkpoint) is the same for any of them.
"""

from abc import abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch

from captioning.core.device import find_device
from captioning.core.errors import CaptioningError
from captioning.core.measure import Measure
from captioning.core.progress import progress
from captioning.core.sums import Sum
from captioning.runs.checkpoint import Checkpoint, load_weights, read_checkpoint
from captioning.runs.monitor import Measuring
from captioning.training.module import TrainingModule


@dataclass(frozen=True)
class Prepared:
    """What a run trains, and on what.

    Attributes:
        module: untrained.
        data: its batches; ``data.describe_batch(batch)`` says in words what a batch holds, and ``data.resumed`` takes
            the place where a run goes on, see ``captioning.data.module.ResumableData``.
        contents: what a checkpoint keeps beside the weights: plain values, such as a vocabulary's words.
        size: of the data, in words.
    """

    module: TrainingModule
    data: pl.LightningDataModule
    contents: Mapping[str, Any]
    size: str


@dataclass(frozen=True)
class Evaluation:
    """What an evaluation finds.

    Attributes:
        scores: by the measures' names, ×1.
        details: what else the scores' file is to hold.
        lines: what else is to be said.
        split: that was scored.
        measures: of the scores, by name.
    """

    scores: dict[str, float]
    details: dict[str, Any] = field(default_factory=dict)
    lines: Sequence[str] = ()
    split: str = ""
    measures: Mapping[str, Measure] = field(default_factory=dict)


class Task(Measuring):
    """A kind of system.

    Attributes:
        splits: those that can be scored, the one that is scored where none is named first.
    """

    splits: tuple[str, ...] = ("test", "val", "train")

    def __init__(self, config: Mapping[str, Any]) -> None:
        """Take the configuration of a run; settings of ``task`` are further arguments."""
        self.config = config

    @abstractmethod
    def read_source(self) -> Any:
        """What ``data.source`` reads.

        Raises:
            CaptioningError: it can't be read, or is nothing that this task is for.
        """

    def inputs(self, source: Any) -> dict[str, str]:
        """What a run reads, to a digest of its content: a run goes on with the same alone."""
        return {}

    def has(self, source: Any, split: str) -> bool:
        """Whether there is something to score in a split."""
        return split in self.splits

    @abstractmethod
    def prepare(self, source: Any, folder: Path, device: torch.device, initial: Checkpoint | None = None) -> Prepared:
        """Make what is trained, and its batches.

        Args:
            source: see ``read_source``.
            folder: of the run.
            device: where features that are not stored yet are computed.
            initial: the checkpoint that ``init_from`` names, for what of it the new network must share (the
                vocabulary); its weights are loaded by the caller.

        Raises:
            CaptioningError: the configuration does not go with the source.
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
        """Score a checkpoint on a split: by default the means of what the module's ``measured`` gives.

        Args:
            checkpoint: a file, or a run's folder.
            split: one of ``splits``.
            out: the folder for what it writes besides the scores.
            device: where to run.
            source: see ``read_source``; read once the checkpoint is known to be sound, where not given.
            trust: modules or classes outside of this package that the checkpoint may name.
            search: that finds captions; the configuration's own where not given.

        Raises:
            CaptioningError: the checkpoint or the split does not fit.
        """
        where = find_device(device)
        read = read_checkpoint(checkpoint, trust)
        prepared = self.prepare(self.source_of(split, source), out, where)
        load_weights(prepared.module, read.weights, read.path)
        module, data = prepared.module.to(where).eval(), prepared.data
        sums: dict[str, list[Sum]] = {}
        with torch.no_grad():
            for batch in progress(data.loader(split), f"measuring {split}", unit="batch"):  # type: ignore[attr-defined]
                for name, each in module.measured(batch.to(where), split).items():
                    sums.setdefault(name, []).append(each)
        return Evaluation({name: _mean(found) for name, found in sums.items()})

    def source_of(self, split: str, source: Any = None) -> Any:
        """What ``data.source`` reads, where it has not been read yet, with something to score in a split.

        Raises:
            CaptioningError: it can't be read, or the split has nothing.
        """
        source = self.read_source() if source is None else source
        if not self.has(source, split):
            there = ", ".join(name for name in self.splits if self.has(source, name)) or "none"
            raise CaptioningError(f"The split {split!r} is empty or unknown here. Splits that can be scored: {there}.")
        return source


def _mean(sums: Sequence[Sum]) -> float:
    return sum(float(each.total) for each in sums) / max(sum(each.count for each in sums), 1)
