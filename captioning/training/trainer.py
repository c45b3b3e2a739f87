"""Lightning's trainer with a run's callbacks and logs."""

import io
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from lightning_fabric.plugins.io.torch_io import TorchCheckpointIO
from lightning_fabric.utilities.exceptions import MisconfigurationException
from pytorch_lightning.loggers import Logger

from captioning.core.build import build
from captioning.core.errors import CaptioningError
from captioning.core.files import atomic_write
from captioning.core.system import processors
from captioning.runs.monitor import Monitor
from captioning.training.callbacks import callbacks
from captioning.training.sharding import Sharded

PLACES = ("GROUP_RANK", "NODE_RANK", "RANK", "SLURM_NODEID", "LSB_JOBID", "OMPI_COMM_WORLD_RANK")  # as launchers tell


def make_trainer(config: Mapping[str, Any], folder: Path, monitor: Monitor) -> pl.Trainer:
    """The trainer of a run.

    Args:
        config: the run's configuration.
        folder: the run's folder.
        monitor: the measurement that chooses the best checkpoint.

    Raises:
        CaptioningError: a setting of the trainer, a logger or a callback is wrong.
    """
    own = callbacks(
        folder,
        monitor,
        config["patience"],
        config["checkpoint_minutes"],
        config["trainer"]["enable_progress_bar"],
        config["ema_decay"],
        config["logger"]["gradients"],
    )
    more = [build(settings, pl.Callback) for settings in (config["callbacks"] or {}).values()]
    loggers = [_logger(name, settings, folder) for name, settings in config["logger"].items() if name != "gradients"]
    _check_devices(config["trainer"])
    settings = _sharded(config) if config["trainer"]["strategy"] == "fsdp" else config["trainer"]
    try:
        return build(
            settings,
            pl.Trainer,
            default_root_dir=folder,
            callbacks=[*more, *own],
            logger=loggers,
            plugins=[AtomicCheckpointIO()],
        )
    except (MisconfigurationException, ModuleNotFoundError, RuntimeError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split()).rstrip(".")
        raise CaptioningError(
            f"{reason:.300}. Check trainer.accelerator, trainer.devices, trainer.strategy and trainer.precision."
        ) from error


def _sharded(config: Mapping[str, Any]) -> dict[str, Any]:
    """The trainer's settings with ``trainer.strategy=fsdp``.

    Raises:
        CaptioningError: there is one process, or the weights are averaged.
    """
    trainer = config["trainer"]
    if trainer["devices"] == 1 and trainer["num_nodes"] == 1:
        raise CaptioningError(
            "trainer.strategy=fsdp: one process has nothing to share out. Set trainer.devices to the number of GPUs, "
            "or take trainer.strategy=auto."
        )
    if config["ema_decay"] is not None:
        raise CaptioningError(
            "trainer.strategy=fsdp: Lightning averages no sharded weights. Set ema_decay=null, or take "
            "trainer.strategy=ddp."
        )
    # what is gathered in inference mode would have no gradient later
    return {**trainer, "strategy": Sharded(), "inference_mode": False}


def _check_devices(settings: Mapping[str, Any]) -> None:
    """Refuse what Lightning finds out in the middle of a run, or not before every processor is taken.

    Raises:
        CaptioningError: the precision is double, or a CPU has far fewer processors than ``devices``.
    """
    if str(settings.get("precision")).startswith("64"):
        raise CaptioningError(
            f"trainer.precision={settings['precision']}: nothing is trained in double precision here. Take 32-true."
        )
    devices, most = settings.get("devices"), max(8, processors())
    on_cpu = settings.get("accelerator") == "cpu" or not (
        torch.cuda.is_available() or torch.backends.mps.is_available()
    )
    if on_cpu and isinstance(devices, int) and devices > most:
        raise CaptioningError(f"trainer.devices={devices}: up to {most} processes are started on this CPU. Take fewer.")
    _check_machines(devices, settings.get("num_nodes"))


def _check_machines(devices: Any, machines: Any) -> None:
    """Refuse processes that would wait for others for ever, or that torchrun has started in another number.

    Raises:
        CaptioningError: see above.
    """
    if not isinstance(machines, int):
        return
    if machines > 1 and not any(name in os.environ for name in PLACES):
        raise CaptioningError(
            f"trainer.num_nodes={machines}: nothing tells this process which of the machines it is on. Start it by "
            "torchrun on each of them (docs/clusters.md), or take trainer.num_nodes=1."
        )
    if "TORCHELASTIC_RUN_ID" in os.environ and isinstance(devices, int) and devices > 0:
        started, here = int(os.environ["WORLD_SIZE"]), int(os.environ["LOCAL_WORLD_SIZE"])
        if devices * machines != started:
            raise CaptioningError(
                f"trainer.devices={devices} trainer.num_nodes={machines}: torchrun has started {started} processes. "
                f"Set trainer.devices={here} trainer.num_nodes={started // here}."
            )


def _logger(name: str, settings: Mapping[str, Any], folder: Path) -> Logger:
    try:
        return build(settings, Logger, save_dir=folder)
    except ModuleNotFoundError as error:
        raise CaptioningError(
            f'logger={name} needs the package {error.name or name}: pip install "captioning[{name}]".'
        ) from error


class AtomicCheckpointIO(TorchCheckpointIO):
    """Lightning's checkpoint writer with atomic writes, also on a full disk."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        """Write to a neighbouring file first, then rename it."""
        buffer = io.BytesIO()
        torch.save(checkpoint, buffer)
        with atomic_write(path, "wb") as file:
            file.write(buffer.getbuffer())
