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
        above: True if the value is greater than ``least``, and not ``least`` itself.
        also: a further value with a meaning of its own.
    """

    least: float = 0
    most: float | None = None
    whole: bool = False
    below: bool = False
    above: bool = False
    also: float | None = None

    def has(self, value: float) -> bool:
        """True if the range has the value."""
        if self.also is not None and value == self.also:
            return True
        if not _is_finite(value) or (self.whole and not isinstance(value, int)) or value < self.least:
            return False
        if self.above and value == self.least:
            return False
        return self.most is None or value < self.most or (value == self.most and not self.below)

    def __str__(self) -> str:
        """The range in words, as the object of "take"."""
        number = "a whole number" if self.whole else "a number"
        if self.most is None:
            said = f"{number} above {self.least:g}" if self.above else f"{number} of {self.least:g} or more"
        else:
            said = f"{number} from {self.least:g} to {self.most:g}" if not self.below else ""
            said = said or f"{number} of {self.least:g} or more and below {self.most:g}"
        return said if self.also is None else f"{said}, or {self.also:g}"


COUNT, NOT_NEGATIVE = Range(1, whole=True), Range()
LAYERS = 100  # of which each has millions of parameters
LIMITS = {"max_length": 1000, "size": 100, "n_best": 100, "samples": 100, "block_ngrams": 1000, "groups": 100}
SMALLEST = 1e-4  # the least temperature
SIDE = 2048  # pixels, the most of an encoder's input image
PENALTY = 100  # captioning.search.beam's, which is not imported here with torch
MODELS = ("answerer", "decoder", "encoder", "task")
WIDTH, DEPTH, PROCESSES = 2**16, 1000, 1000  # beyond them a mistyped number takes all memory before anything is said

RANGES = {  # by the settings' dotted names, in which * stands for anything
    **dict.fromkeys(("data.batch_size", "data.captions_per_photo", "data.max_words", "data.chunk"), COUNT),
    **dict.fromkeys(("data.sample_every", "trainer.accumulate_grad_batches"), COUNT),
    **dict.fromkeys((f"{group}.*_size" for group in MODELS), Range(1, WIDTH, whole=True)),
    **dict.fromkeys((f"{group}.depth" for group in MODELS), Range(1, DEPTH, whole=True)),
    **dict.fromkeys(("decoder.heads", "answerer.looks"), Range(1, DEPTH, whole=True)),
    "decoder.refining_layers": Range(0, LAYERS, whole=True),
    **{f"decoder.{weight}": NOT_NEGATIVE for weight in ("doubly_stochastic", "entropy", "reconstruction", "reinforce")},
    "decoder.expected": Range(0, 1),
    "cell.forget_bias": Range(-100, 100),
    "encoder.*image_size": Range(1, SIDE, whole=True),
    # what a checkpoint may have (captioning.runs.trust): a run must be able to load its own
    **{f"search.{name}": Range(name != "block_ngrams", most, whole=True) for name, most in LIMITS.items()},
    **dict.fromkeys(("search.temperature", "objective.temperature"), Range(SMALLEST, 1e9)),
    "search.length_penalty": Range(0, PENALTY),
    **dict.fromkeys(("objective.bleu", "objective.cider", "objective.cross_entropy"), NOT_NEGATIVE),
    **dict.fromkeys(("trainer.log_every_n_steps", "trainer.check_val_every_n_epoch", "trainer.num_nodes"), COUNT),
    "data.folds": Range(2, whole=True),
    "data.fold": Range(whole=True),
    "data.workers": Range(0, PROCESSES, whole=True),
    "patience": COUNT,
    **dict.fromkeys(("data.minimum_count", "scheduler.warmup"), Range(whole=True)),
    **dict.fromkeys(("seed", "data.scenes_seed", "data.folds_seed"), Range(0, 2**32 - 1, whole=True)),
    **dict.fromkeys(("optimizer.lr", "encoder_lr", "optimizer.weight_decay", "checkpoint_minutes"), NOT_NEGATIVE),
    **dict.fromkeys(("ema_decay", "optimizer.momentum"), Range(0, 1, below=True)),
    **dict.fromkeys(("*dropout", "scheduler.final", "objective.label_smoothing"), Range(0, 1)),
    "trainer.gradient_clip_val": NOT_NEGATIVE,
    "trainer.max_epochs": Range(1, whole=True, also=-1),  # -1: without end
    "trainer.num_sanity_val_steps": Range(0, whole=True, also=-1),
    **dict.fromkeys(("trainer.limit_train_batches", "trainer.val_check_interval"), Range(above=True)),
    "trainer.limit_val_batches": NOT_NEGATIVE,
}
NEEDED = (  # settings for which null stands for nothing
    *("data.batch_size", "data.captions_per_photo", "data.max_words", "data.chunk", "data.workers"),
    *("data.minimum_count", "decoder.*_size", "decoder.depth", "search.max_length", "optimizer.lr", "seed"),
)


def check_ranges(config: Mapping[str, Any]) -> None:
    """Refuse a number out of its setting's range, and text in place of a number.

    Other values, such as references (``${…}``), are left to the settings' users.

    Raises:
        CaptioningError: a number is out of range or missing; the message names the setting.
    """
    for name, value in _numbers(config):
        for pattern, allowed in RANGES.items():
            if value is None:
                if fnmatchcase(name, pattern) and any(fnmatchcase(name, needed) for needed in NEEDED):
                    raise CaptioningError(f"{name}=null: take {allowed}.")
            elif fnmatchcase(name, pattern) and (isinstance(value, str) or not allowed.has(value)):
                shown = (
                    f"a number of {len(str(value))} digits"
                    if isinstance(value, int) and abs(value) >= 10**30
                    else value
                )
                raise CaptioningError(f"{name}={shown}: take {allowed}.")


def _is_finite(value: float) -> bool:
    """True for a number that a computer's floating-point numbers have, unlike one of 400 digits."""
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


def _numbers(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, float | str | None]]:
    """The numbers, texts and nulls of nested settings, by dotted names; those of a list by the list's name."""
    for key, value in settings.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            yield from _numbers(value, f"{name}.")
        for each in value if isinstance(value, list | tuple) else [value]:
            if isinstance(each, str):
                if "${" not in each and not name.startswith("hydra."):  # a sweeper's interval(0.0, 0.6)
                    yield name, each
            elif each is None or (isinstance(each, int | float) and not isinstance(each, bool)):
                yield name, each
