"""Conversion of version 1 configurations: runs and checkpoints of version 1 can still be read."""

import copy
from collections.abc import Mapping
from typing import Any

MOVED = {
    "captioning.training.sampling.": "captioning.training.scheduled_sampling.",
    "captioning.training.loggers.": "captioning.runs.metrics_file.",
}
TASKS = {
    "captioning": "captioning.tasks.captioning.CaptioningTask",
    "language": "captioning.tasks.language.LanguageTask",
}


def is_of_version_1(config: Mapping[str, Any]) -> bool:
    """True if a run's configuration is of version 1, which had no tasks."""
    return "task" not in config and "decoder" in config


def upgraded(config: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration of a run in the form of this version; a configuration of this version is unchanged.

    Args:
        config: the resolved configuration, possibly a stranger's: any part may be missing or of another form.
    """
    if not is_of_version_1(config):
        return dict(config)
    new = {key: _moved(value) for key, value in copy.deepcopy(dict(config)).items()}
    if "sampling" in new:
        new["scheduled_sampling"] = new.pop("sampling")
    objective, decoder, data = new.get("objective"), new.get("decoder"), new.get("data")
    if isinstance(objective, dict) and "scheduled_sampling" in new:
        objective["scheduled_sampling"] = new["scheduled_sampling"]
    if isinstance(decoder, dict) and "image_dropout" in decoder:
        dropout = decoder.pop("image_dropout")
        if isinstance(objective, dict):
            objective["feature_dropout"] = dropout
    source = data.get("source") if isinstance(data, dict) else None
    is_text = isinstance(source, dict) and str(source.get("_target_")).endswith(".read_characters")
    new["task"] = {"_target_": TASKS["language" if is_text else "captioning"]}
    return new


def _moved(value: Any) -> Any:
    """A setting with the present paths of moved classes."""
    if isinstance(value, dict):
        return {key: _moved(each) for key, each in value.items()}
    if isinstance(value, str):
        for before, now in MOVED.items():
            if value.startswith(before):
                return now + value.removeprefix(before)
    return value
