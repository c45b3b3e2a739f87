"""The members of an ensemble: what its scores file says of them, and the name of its folder."""

import hashlib
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from captioning.core.errors import CaptioningError
from captioning.runs.checkpoint import read_checkpoint
from captioning.runs.folder import folder_name
from captioning.runs.places import BEST, run_of
from captioning.runs.trust import check_task

TOLD = ("decoder", "cell", "encoder", "data")  # the choices of a run that the scores file repeats


def members_of(paths: Sequence[Path], trust: Collection[str] = ()) -> list[dict[str, Any]]:
    """The members of an ensemble: file, SHA-256 of the file, seed, and the choices of their runs.

    Args:
        paths: checkpoint files, or runs' folders.
        trust: modules or classes outside this package that the checkpoints may name.

    Raises:
        CaptioningError: a checkpoint is missing, is named twice, or has another task than the first.
    """
    members: list[dict[str, Any]] = []
    task = None
    for path in paths:
        read = read_checkpoint(path, trust)
        check_task(read.config, read.path, trust)
        task = task or read.config["task"]["_target_"]
        if read.config["task"]["_target_"] != task:
            raise CaptioningError(
                f"{read.path}: its task is {read.config['task']['_target_']}, and that of {paths[0]} is {task}. "
                "The members of an ensemble have one task."
            )
        with read.path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if any(member["checkpoint"] == str(read.path) for member in members):
            raise CaptioningError(f"{read.path}: named twice. Name each member of an ensemble once.")
        choices: Mapping[str, Any] = read.config.get("choices", {})
        told = {name: choices[name] for name in TOLD if isinstance(choices.get(name), str)}
        members.append({"checkpoint": str(read.path), "sha256": digest, "seed": read.config["seed"], **told})
    return members


def ensemble_name(members: Sequence[Mapping[str, Any]], average: str, weights: Sequence[float] | None = None) -> str:
    """The name of an ensemble's folder: ``ensemble=a+b``, with the average and weights unless they are the default."""
    names = []
    for member in members:
        path = Path(member["checkpoint"])
        names.append(run_of(path).name + (f"-{path.stem}" if path.name != BEST else ""))
    told = f"ensemble={'+'.join(names)}" + (f",average={average}" if average != "probabilities" else "")
    return folder_name(told + ("" if weights is None else f",weights={'+'.join(f'{each:g}' for each in weights)}"))
