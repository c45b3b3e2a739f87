"""The safe part of a checkpoint's configuration: a checkpoint may be a stranger's.

Only five groups are built (encoder, decoder, cell, search and answerer), and only from classes of this package or of
modules named by the user. An untrusted module is not even imported, because an import runs the module's code. From the
data settings only numbers are used; paths, sources and everything else are up to the user
(``captioning.jobs.evaluated``).
"""

import inspect
import json
import logging
import math
from collections.abc import Collection, Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from captioning.core.errors import CaptioningError
from captioning.core.terminal import printable
from captioning.runs.ranges import LIMITS, SIDE, SMALLEST
from captioning.runs.settings import MEMBERS, encoders_of

log = logging.getLogger(__name__)

ROOMS = {
    "encoder": "captioning.encoders",
    "decoder": "captioning.decoders",
    "cell": "captioning.cells",
    "search": "captioning.search",
    "answerer": "captioning.answerers",
}
LONGEST = 200  # the maximum characters of a class's name, and of words that captions must say
MUST_SAY = 10  # the maximum number of such words
PIXELS = SIDE**2  # the maximum pixels of an encoder's input image
MOST = 8  # the maximum encoders of which one consists


def acted_on(config: Any, path: Path, trust: Collection[str] = ()) -> dict[str, Any]:
    """The safe part of a checkpoint's configuration, after a check of the classes it names.

    Args:
        config: the checkpoint's configuration.
        path: the checkpoint's file, for error messages.
        trust: modules or classes named by the user; they are imported.

    Returns:
        The groups ``encoder``, ``decoder``, ``cell``, ``search`` and ``answerer``; unchanged ``data``, ``choices``,
        ``task``, ``metrics`` and ``seed``, from which nothing may be built (see ``check_task``).

    Raises:
        CaptioningError: a group is missing or names a class that is neither this package's nor trusted, or a size
            exceeds its limit.
    """
    if not isinstance(config, Mapping):
        raise CaptioningError(f"{path}: this checkpoint has no configuration. Train again.")
    kept: dict[str, Any] = {}
    for group, room in ROOMS.items():
        settings = config.get(group) or {}
        if not isinstance(settings, Mapping) or not all(isinstance(key, str) for key in settings):
            raise CaptioningError(f"{path}: its {group} is no group of settings. The file is damaged or not a run's.")
        kept[group] = dict(settings)
        if "_target_" in settings:
            _check_target(settings["_target_"], group, room, path, trust)
        members = settings.get(MEMBERS) if group == "encoder" else None
        if isinstance(members, Mapping):
            _check_members(members, room, path, trust)
        inner = {"_target_", MEMBERS} if isinstance(members, Mapping) else {"_target_"}
        _refuse_nested({key: value for key, value in settings.items() if key not in inner}, group, path, trust)
    _check_sizes(kept, path)
    for name in ("data", "choices", "task", "metrics"):
        kept[name] = dict(config[name]) if isinstance(config.get(name), Mapping) else {}
    kept["seed"] = config["seed"] % 2**63 if isinstance(config.get("seed"), int) else 0
    return kept


def check_task(config: Mapping[str, Any], path: Path, trust: Collection[str] = ()) -> None:
    """Check the task of a checkpoint before it is built.

    Raises:
        CaptioningError: the task is neither this package's nor trusted.
    """
    settings = config.get("task") or {}
    if not isinstance(settings.get("_target_"), str):
        raise CaptioningError(f"{path}: its configuration names no task. The file is damaged or not a run's.")
    _check_target(settings.get("_target_"), "task", "captioning.tasks", path, trust)
    _refuse_nested({key: value for key, value in settings.items() if key != "_target_"}, "task", path, trust)


def trusted_metrics(config: Mapping[str, Any], path: Path, trust: Collection[str] = ()) -> dict[str, Any]:
    """The metrics of a checkpoint that are this package's own or trusted; the others are named in the log.

    Args:
        config: the checkpoint's configuration.
        path: the checkpoint's file, for the messages.
        trust: the modules and classes that the user names.

    Raises:
        CaptioningError: a setting of a metric names something to be built that is not trusted.
    """
    kept = {}
    for name, settings in config.get("metrics", {}).items():
        target = settings.get("_target_") if isinstance(settings, Mapping) else None
        if not isinstance(target, str):
            continue
        if is_trusted(target, trust) or _is_class_of("captioning.metrics", target):
            _refuse_nested({key: value for key, value in settings.items() if key != "_target_"}, "metric", path, trust)
            kept[str(name)] = dict(settings)
        else:
            module = shown(target.rpartition(".")[0] or target)
            log.warning("%s: its metric %s is left out: say --trust %s to import it.", path, shown(target), module)
    return kept


def of_this_package(config: Mapping[str, Any]) -> bool:
    """True if a configuration builds only objects of this package."""
    return all(target.startswith(room) for group, room in ROOMS.items() for target in _targets_in(config[group]))


def targets_of(config: Mapping[str, Any]) -> list[str]:
    """All classes named in a configuration, at any depth: those of the user's own command line are trusted."""
    return [target for group in (*ROOMS, "task", "metrics") for target in _targets_in(config.get(group))]


def _targets_in(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        if "_target_" in value:
            yield str(value["_target_"])
        value = list(value.values())
    for each in value if isinstance(value, list | tuple) else ():
        yield from _targets_in(each)


def is_trusted(target: str, trust: Collection[str]) -> bool:
    """True if a class, or the class's module, is among the trusted names."""
    return any(target == name or target.startswith(f"{name}.") for name in trust if name)


def _check_target(target: Any, group: str, room: str, path: Path, trust: Collection[str]) -> None:
    if isinstance(target, str) and is_trusted(target, trust):
        return
    if not (isinstance(target, str) and _is_class_of(room, target)):
        module = str(target).rpartition(".")[0]
        raise CaptioningError(
            f"{path}: its {group} is {shown(target)}, which is not one of {room}. To import it would run its code: if "
            f"you trust that, say --trust {shown(module or target)} (Captioner.load(…, trust=[…]) in Python)."
        )


def _check_members(members: Mapping[Any, Any], room: str, path: Path, trust: Collection[str]) -> None:
    """Check the encoders of which an encoder consists, see ``captioning.encoders.several``."""
    if len(members) > MOST:
        raise CaptioningError(f"{path}: its encoder consists of {len(members)} encoders; up to {MOST} are taken here.")
    for name, settings in members.items():
        if not isinstance(settings, Mapping) or not all(isinstance(key, str) for key in [name, *settings]):
            raise CaptioningError(f"{path}: its encoder is no group of settings. The file is damaged or not a run's.")
        _check_target(settings.get("_target_"), "encoder", room, path, trust)
        _refuse_nested({key: value for key, value in settings.items() if key != "_target_"}, "encoder", path, trust)


def _refuse_nested(value: Any, group: str, path: Path, trust: Collection[str]) -> None:
    """Refuse settings that build objects themselves, unless the objects are trusted."""
    if isinstance(value, Mapping):
        target = value.get("_target_")
        if "_target_" in value and not (isinstance(target, str) and is_trusted(target, trust)):
            raise CaptioningError(
                f"{path}: its {group} asks for {shown(target)} to be made, which no captioner of this package needs. "
                f"If you trust that, say --trust {shown(str(target).rpartition('.')[0] or target)}."
            )
    for each in value.values() if isinstance(value, Mapping) else value if isinstance(value, list | tuple) else ():
        _refuse_nested(each, group, path, trust)


def _is_class_of(room: str, target: str) -> bool:
    """True if a dotted path is a class of one subpackage; the check imports no other module."""
    module, _, name = target.rpartition(".")
    if len(target) > LONGEST or not (
        f"{module}.".startswith(f"{room}.") and all(part.isidentifier() for part in target.split("."))
    ):
        return False
    try:
        found = getattr(import_module(module), name, None)
    except ImportError:
        return False
    return inspect.isclass(found) and found.__module__.startswith("captioning.") and not inspect.isabstract(found)


def _check_sizes(config: Mapping[str, Mapping[str, Any]], path: Path) -> None:
    """Refuse settings that could exhaust memory or time and that no weight in the file bounds.

    A trusted search may have settings of any kind; known settings beyond their limit are still refused.
    """
    ours = str(config["search"].get("_target_", ROOMS["search"])).startswith("captioning.")
    for name, value in config["search"].items():
        limit = LIMITS.get(name, 10**9)
        if not ours and not (name in LIMITS and isinstance(value, int | float) and not value <= limit):
            continue
        if name == "remove_bad_endings" and isinstance(value, bool):
            continue
        if name == "must_say" and ours:
            if not _is_short(value):
                raise CaptioningError(f"{path}: its search has must_say={shown(value)}, which is no list of few words.")
            continue
        whole = name in LIMITS or name == "top_k"
        number = type(value) is int or (type(value) is float and not whole and math.isfinite(value))
        if name not in ("_target_", "_partial_", "seed") and not (number and value <= limit):
            raise CaptioningError(f"{path}: its search has {name}={shown(value)}, and {limit} is the most here.")
    seed, temperature = config["search"].get("seed"), config["search"].get("temperature", 1.0)
    if ours and (not (seed is None or (type(seed) is int and abs(seed) < 2**63)) or temperature < SMALLEST):
        raise CaptioningError(f"{path}: its search has seed={shown(seed)}, temperature={shown(temperature)}.")
    for encoder in encoders_of(config["encoder"]).values():
        size: Any = encoder.get("image_size")
        sides = size if isinstance(size, list | tuple) else [size, size]
        whole = len(sides) == 2 and all(isinstance(side, int) and side > 0 for side in sides)
        if size is not None and not (whole and sides[0] * sides[1] <= PIXELS):
            raise CaptioningError(f"{path}: its encoder has image_size={shown(size)}; up to 2048×2048 are taken here.")


def _is_short(words: Any) -> bool:
    """True for a list of a few short texts."""
    few = isinstance(words, list) and len(words) <= MUST_SAY
    return few and all(isinstance(each, str) and len(each) <= LONGEST for each in words)


def shown(value: Any) -> str:
    """A stranger's value, shortened for a message."""
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    return printable(text[:100] + "…" * (len(text) > 100))
