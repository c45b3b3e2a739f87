"""What of a configuration makes a run what it is, and what may differ when the run goes on."""

import math
from collections.abc import Mapping
from typing import Any

# What may differ when a run goes on: it does not change what is trained, only where, how long and what is said of it.
# Of the files that ``data`` names the contents must be the same (``inputs.json``), not the places.
FREE = {"name", "choices", "out", "sweep", "resume", "test", "logger", "patience"}
FREE |= {"checkpoint_minutes", "compile", "init_from"}  # what a run began with is among the inputs
FREE_DATA = {"root", "file", "images", "source", "workers", "features_root", "prepare", "text", "cache", "sample_every"}
FREE_TRAINER = {"accelerator", "enable_progress_bar", "log_every_n_steps", "enable_model_summary"}


def epochs_of(config: Mapping[str, Any]) -> float:
    """How many epochs a run is to be trained; null and -1 are no limit."""
    epochs = config["trainer"]["max_epochs"]
    return math.inf if epochs in (None, -1) else float(epochs)


def essence(config: Mapping[str, Any]) -> dict[str, Any]:
    """What makes a run what it is."""
    kept = {key: value for key, value in config.items() if key not in FREE}
    kept["word_vectors"] = bool(config["word_vectors"])  # the file's content is among the inputs
    kept["data"] = {key: value for key, value in config["data"].items() if key not in FREE_DATA}
    # a schedule such as the cosine depends on the run's length: more epochs would make the learning rate jump
    constant = config["scheduler"]["_target_"].endswith(".constant")
    free = FREE_TRAINER | {"max_epochs"} if constant else FREE_TRAINER
    kept["trainer"] = {key: value for key, value in config["trainer"].items() if key not in free}
    return kept


def those_of(before: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, Any]:
    """Those settings that were there before, group by group."""
    return {
        key: those_of(before[key], value) if isinstance(value, Mapping) and isinstance(before[key], Mapping) else value
        for key, value in now.items()
        if key in before
    }


def differences(before: Mapping[str, Any], now: Mapping[str, Any], prefix: str = "") -> list[str]:
    """``decoder.depth: 1, now 2``, one for each setting that differs."""
    odd = []
    for key in sorted(before.keys() | now.keys()):
        old, new = before.get(key), now.get(key)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            odd += differences(old, new, f"{prefix}{key}.")
        elif old != new:
            odd.append(f"{prefix}{key}: {old}, now {new}")
    return odd
