"""What runs in tests leave out, since only its time differs: further pictures, waits for the disk, networks again."""

import copy
import os
import sys
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Any

IN_CHILD: list[bool] = []  # not empty in a fork that runs a command line


def take() -> None:
    """Take all shortcuts, of those modules that are imported; more calls do nothing more."""
    end_workers_soon()
    sketch_pictures()
    remember_networks()
    map_no_choices()
    os.fsync = lambda file: None  # a test may end a process, whose files are written anyway, but not the machine


def end_workers_soon(seconds: float = 0.5) -> None:
    """Let a DataLoader wait so long, not 5 seconds for each, for worker processes that end late."""
    if "torch" in sys.modules:
        from torch.utils.data import _utils

        _utils.MP_STATUS_CHECK_INTERVAL = _utils.worker.MP_STATUS_CHECK_INTERVAL = seconds


def sketch_pictures() -> None:
    """Let runs in this process draw their first curves of each task and their first contact sheet, and no others.

    A run of this size takes a third of its time for the two; every run still writes both files.
    """
    from captioning.core.files import atomic_write
    from captioning.core.ownership import output

    job, evaluation = (sys.modules.get(f"captioning.{name}") for name in ("jobs.train", "tasks.captioning.evaluation"))
    if job and not hasattr(job.draw_curves, "drawn"):
        job.draw_curves = Sketch(job.draw_curves, atomic_write, lambda measures: tuple(measures))
    if evaluation and not hasattr(evaluation.draw_contact_sheet, "drawn"):
        evaluation.draw_contact_sheet = Sketch(evaluation.draw_contact_sheet, output, lambda: "contact sheet")


class Sketch:
    """``draw(what, path, …)`` for the first call of each kind, and an empty file for those after it."""

    def __init__(self, draw: Callable[..., None], write: Callable[..., Any], kind: Callable[..., Hashable]) -> None:
        self.draw, self.write, self.kind = draw, write, kind
        self.drawn: set[Hashable] = set()

    def __call__(self, what: Any, path: Path, *rest: Any) -> None:
        if IN_CHILD or self.kind(*rest) in self.drawn:
            with self.write(path, "wb"):
                return
        self.draw(what, path, *rest)
        self.drawn.add(self.kind(*rest))


def remember_networks() -> None:
    """Let torchvision make its smallest network with random weights once for each state of the random numbers.

    ResNet-18 takes 0.2 s, in most runs from the same seed. A copy has the same weights, and leaves the generator of
    random numbers as the making would.
    """
    torchvision = sys.modules.get("torchvision")
    if torchvision is not None and not isinstance(torchvision.models.get_model, Remembered):
        torchvision.models.get_model = Remembered(torchvision.models.get_model)


class Remembered:
    """``make(name)``, the last networks of which are copied where they would be made again."""

    def __init__(self, make: Callable[..., Any], names: tuple[str, ...] = ("resnet18",), most: int = 3) -> None:
        self.make, self.names, self.most = make, names, most
        self.made: dict[tuple[str, bytes], tuple[Any, Any]] = {}

    def __call__(self, name: str, **settings: Any) -> Any:
        import torch

        plain = torch.get_default_device().type == "cpu" and torch.get_default_dtype() == torch.float32
        if name not in self.names or settings or not plain:
            return self.make(name, **settings)
        key = name, torch.get_rng_state().numpy().tobytes()
        if key in self.made:
            network, after = self.made[key]
            torch.set_rng_state(after)
            return copy.deepcopy(network)
        network = self.make(name)
        while len(self.made) >= self.most:
            del self.made[next(iter(self.made))]
        self.made[key] = copy.deepcopy(network), torch.get_rng_state()
        return network


def map_no_choices() -> None:
    """Let Hydra map the choices of a file's defaults only where one of them is an interpolation, which needs the map.

    It makes the map for each file of each configuration, a third of its time.
    """
    hydra = sys.modules.get("hydra._internal.defaults_list")
    if hydra is not None and not isinstance(hydra._create_interpolation_map, NeededMap):
        hydra._create_interpolation_map = NeededMap(hydra._create_interpolation_map)


class NeededMap:
    """``make(overrides, defaults, …)`` where a default is an interpolation, and None elsewhere."""

    def __init__(self, make: Callable[..., Any]) -> None:
        self.make = make

    def __call__(self, overrides: Any, defaults: list[Any], *rest: Any) -> Any:
        needed = any(each.is_interpolation() for each in defaults if not each.is_self())
        return self.make(overrides, defaults, *rest) if needed else None
