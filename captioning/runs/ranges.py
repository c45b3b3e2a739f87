"""The ranges of a run's numbers: one table, checked before a run begins."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from captioning.core.errors import CaptioningError


@dataclass(frozen=True)
class Range:
    """The values that a setting takes.

    Attributes:
        least: the least value.
        most: the greatest value; None for no limit.
        whole: True for whole numbers alone.
        below: True if the value is less than ``most``, and not ``most`` itself.
        also: a further value with a meaning of its own.
    """

    least: float = 0
    most: float | None = None
    whole: bool = False
    below: bool = False
    also: float | None = None

    def has(self, value: float) -> bool:
        """True if the range has the value."""
        if self.also is not None and value == self.also:
            return True
        if not math.isfinite(value) or (self.whole and value != int(value)) or value < self.least:
            return False
        return self.most is None or value < self.most or (value == self.most and not self.below)

    def __str__(self) -> str:
        """The range in words, as the object of "take"."""
        number = "a whole number" if self.whole else "a number"
        if self.most is None:
            said = f"{number} of {self.least:g} or more"
        else:
            said = f"{number} from {self.least:g} to {self.most:g}" if not self.below else ""
            said = said or f"{number} of {self.least:g} or more and below {self.most:g}"
        return said if self.also is None else f"{said}, or {self.also:g}"


COUNT, NOT_NEGATIVE = Range(1, whole=True), Range()

RANGES = {  # by the settings' dotted names, in which * stands for anything
    **dict.fromkeys(("data.batch_size", "data.captions_per_photo", "data.max_words", "data.chunk"), COUNT),
    **dict.fromkeys(("data.sample_every", "trainer.accumulate_grad_batches"), COUNT),
    **dict.fromkeys(("decoder.*_size", "decoder.depth", "decoder.heads", "encoder.image_size"), COUNT),
    **dict.fromkeys(("trainer.log_every_n_steps", "trainer.check_val_every_n_epoch", "search.max_length"), COUNT),
    "data.folds": Range(2, whole=True),
    "data.fold": Range(whole=True),
    **dict.fromkeys(("data.workers", "data.minimum_count", "patience", "scheduler.warmup"), Range(whole=True)),
    **dict.fromkeys(("seed", "data.scenes_seed", "data.folds_seed"), Range(0, 2**32 - 1, whole=True)),
    **dict.fromkeys(("optimizer.lr", "encoder_lr", "optimizer.weight_decay", "checkpoint_minutes"), NOT_NEGATIVE),
    **dict.fromkeys(("ema_decay", "optimizer.momentum"), Range(0, 1, below=True)),
    **dict.fromkeys(("*dropout", "scheduler.final", "objective.label_smoothing"), Range(0, 1)),
    "trainer.gradient_clip_val": NOT_NEGATIVE,
    "trainer.max_epochs": Range(1, whole=True, also=-1),  # -1: without end
    "trainer.num_sanity_val_steps": Range(0, whole=True, also=-1),
    "trainer.limit_*_batches": NOT_NEGATIVE,
}


def check_ranges(config: Mapping[str, Any]) -> None:
    """Refuse a number out of its setting's range; null and values of other kinds are left to the settings' users.

    Raises:
        CaptioningError: a number is out of range; the message names the setting.
    """
    for name, value in _numbers(config):
        for pattern, allowed in RANGES.items():
            if fnmatchcase(name, pattern) and not allowed.has(value):
                raise CaptioningError(f"{name}={value:g}: take {allowed}.")


def _numbers(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    """The numbers of nested settings, by dotted names; those of a list by the list's name."""
    for key, value in settings.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            yield from _numbers(value, f"{name}.")
        for each in value if isinstance(value, list | tuple) else [value]:
            if isinstance(each, int | float) and not isinstance(each, bool):
                yield name, each
