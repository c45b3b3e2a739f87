"""The construction of the training settings common to all tasks."""

from collections.abc import Mapping
from typing import Any

import torch

from captioning.core.build import function, maker


def training_settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of ``TrainingModule`` from a configuration.

    Raises:
        CaptioningError: an optimizer or a schedule does not exist, or does not accept its settings.
    """
    return {
        "optimizer": maker(config["optimizer"], torch.optim.Optimizer),
        "schedule": function(config["scheduler"], float),
        "seed": config["seed"],
    }
