"""The settings that define a run, and the settings that may differ when the run resumes."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from captioning.text import TREEBANK

# Settings that may differ when a run resumes: they do not change the training itself, only places, length and output.
# For the files that ``data`` names, the contents must be equal (``inputs.json``), not the paths.
FREE = {"name", "choices", "out", "sweep", "resume", "test", "logger", "patience"}
FREE |= {"checkpoint_minutes", "report", "compile", "metrics", "init_from"}  # initial weights are among the inputs
FREE_DATA = {"root", "file", "images", "source", "workers", "features_root", "prepare", "text", "cache", "sample_every"}
FREE_TRAINER = {"accelerator", "enable_progress_bar", "log_every_n_steps", "enable_model_summary"}

MEMBERS = "encoders"  # the setting of ``encoder=several`` that holds the settings of its encoders, by name


def epochs_of(config: Mapping[str, Any]) -> float:
    """The number of epochs of a run; null and -1 are no limit."""
    epochs = config["trainer"]["max_epochs"]
    return math.inf if epochs in (None, -1) else float(epochs)


def tokenizer_of(config: Mapping[str, Any]) -> str:
    """The name of the tokenizer of a run's captions; a run from before the setting has coco-caption's."""
    data = config.get("data") or {}
    return str(data.get("tokenizer", TREEBANK))


def data_name(config: Mapping[str, Any]) -> str:
    """The name of the data: that of the data set, of a file of one's own that of the file."""
    data = config.get("data") or {}
    name, root = str(data.get("name", "")), data.get("root")
    return Path(str(root)).stem if name.startswith("own") and root else name


def encoders_of(encoder: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """The settings of the encoders of which an encoder consists, by name; its own under an empty name."""
    members = encoder.get(MEMBERS)
    return dict(members) if isinstance(members, Mapping) else {"": encoder}


def without_weights(encoder: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of an encoder, and of the encoders of which it consists, without pretrained weights."""
    if isinstance(encoder.get(MEMBERS), Mapping):
        return {**encoder, MEMBERS: {name: without_weights(member) for name, member in encoder[MEMBERS].items()}}
    return {**encoder, "weights": None}


def essence(config: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that define a run."""
    kept = {key: value for key, value in config.items() if key not in FREE}
    kept["word_vectors"] = bool(config["word_vectors"])  # the file's content is among the inputs
    kept["data"] = _without_places(config["data"])
    kept["data"]["tokenizer"] = tokenizer_of(config)
    # A schedule such as the cosine depends on the run's length: more epochs would make the learning rate jump.
    constant = config["scheduler"]["_target_"].endswith(".constant")
    free = FREE_TRAINER | {"max_epochs"} if constant else FREE_TRAINER
    kept["trainer"] = {key: value for key, value in config["trainer"].items() if key not in free}
    return kept


def _without_places(data: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of data, and of the sources of which they consist, without those that a resumed run may change."""
    kept = {key: value for key, value in data.items() if key not in FREE_DATA}
    if isinstance(data.get("sources"), Mapping):
        kept["sources"] = {name: _without_places(source) for name, source in data["sources"].items()}
    return kept


def those_of(before: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, Any]:
    """The present settings, restricted to those that existed before, group by group."""
    return {
        key: those_of(before[key], value) if isinstance(value, Mapping) and isinstance(before[key], Mapping) else value
        for key, value in now.items()
        if key in before
    }


def differences(before: Mapping[str, Any], now: Mapping[str, Any], prefix: str = "") -> list[str]:
    """The differing settings, each as ``decoder.depth: 1, now 2``.

    A setting that the version of the earlier run did not have, and that is empty now, is no difference.
    """
    odd = []
    for key in sorted(before.keys() | now.keys()):
        old, new = before.get(key), now.get(key)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            odd += differences(old, new, f"{prefix}{key}.")
        elif old != new and not (key not in before and new in ([], {})):
            odd.append(f"{prefix}{key}: {old}, now {new}")
    return odd
