"""The configuration of an evaluation: the user's own, with numbers from the checkpoint."""

import shlex
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from captioning.core.errors import CaptioningError, UsageError
from captioning.core.terminal import printable
from captioning.jobs.config import compose, conf_dir
from captioning.runs.settings import tokenizer_of, without_weights
from captioning.runs.trust import trusted_metrics

if TYPE_CHECKING:
    from captioning.runs.checkpoint import Checkpoint
    from captioning.tasks import Task

OURS = ("data.name", "data.workers")  # settings without effect on scores
TOKENIZER = "data.tokenizer"  # a name that the program knows, not a file's
SIDES = ("data.source_language", "data.target_language")
AT_ONCE = 1024  # the maximum photographs in a batch
SAID = ("data.count", "data.scenes_seed")  # numbers that cause writes: scenes are drawn from them
LARGEST = 10**9
ROOT = "@root@"  # stands for data.root, to find the settings that contain it


def evaluated_task(
    path: str | Path, overrides: Sequence[str] = (), trust: Collection[str] = ()
) -> "tuple[Checkpoint, dict[str, Any], Task]":
    """A checkpoint, the configuration of its evaluation, and its task with that configuration; see ``evaluated``.

    Raises:
        CaptioningError: the checkpoint can't be read, names a task that is not trusted, or does not fit the overrides.
    """
    from captioning.core.build import build
    from captioning.runs.checkpoint import read_checkpoint
    from captioning.runs.ranges import check_ranges
    from captioning.runs.trust import check_task
    from captioning.tasks import Task

    checkpoint = read_checkpoint(path, trust)
    check_task(checkpoint.config, checkpoint.path, trust)
    config = evaluated(checkpoint, overrides, trust)
    check_ranges({"data": config["data"]})  # what is wrong in the checkpoint is reported with its name
    return checkpoint, config, build(config["task"], Task, config=config)


def evaluated(checkpoint: "Checkpoint", overrides: Sequence[str], trust: Collection[str] = ()) -> dict[str, Any]:
    """The configuration for the evaluation of a checkpoint.

    A checkpoint may be a stranger's. From its data settings only numbers are used, and from its metrics those of this
    package and those that the user trusts. Paths are this program's own defaults, or the user's.

    Args:
        checkpoint: the checkpoint with its configuration.
        overrides: the user's overrides: ``data.root=…``, or entirely different data (``data=own data.root=…``).
        trust: modules or classes named by the user.

    Raises:
        CaptioningError: an override names a missing setting, or a group other than ``data`` and ``metrics``; or the
            kind or place of the checkpoint's data differs from this program's, and no override names the place.
    """
    config, where = checkpoint.config, checkpoint.path
    of_data = [each for each in overrides if each.lstrip("+~").partition("=")[0].split(".")[0] == "data"]
    of_metrics = [each for each in overrides if each.lstrip("+~").partition("=")[0].split(".")[0] == "metrics"]
    chosen = next((each.partition("=")[2] for each in of_data if each.startswith("data=")), None)
    kind = chosen or config["choices"].get("data")
    if kind not in _kinds_of_data():
        raise CaptioningError(
            f"{where}: its data are of no kind that is known here (data={printable(str(kind))}). Say which they are: "
            f"data=… ({', '.join(_kinds_of_data())}) and data.root=…"
        )
    said = tuple(each.partition("=")[0] for each in of_data)
    numbers, unsaid = ([], []) if chosen else _of_the_checkpoint(checkpoint, str(kind), said)
    if unsaid:
        shown = " ".join(shlex.quote(printable(each)) for each in unsaid)
        raise CaptioningError(
            f"{where}: its data are not at the place where this program looks for them, and what a checkpoint says of "
            f"files is not acted on. Say where they are, for example, if it is right, by adding: {shown}"
        )
    data = [f"data={kind}", *numbers, *(each for each in of_data if not each.startswith("data="))]
    composed = compose([*data, *of_metrics])
    if "tokenizer" in composed["data"] and not any(each.lstrip("+") == TOKENIZER for each in said):
        composed["data"]["tokenizer"] = tokenizer_of(config)  # of the words that the captioner says, on any data
    others = {name: settings for name, settings in config.items() if name not in ("data", "choices", "metrics")}
    changed = change(others, [each for each in overrides if each not in of_data and each not in of_metrics])
    if not of_metrics and config.get("metrics"):  # version 1 had those of conf/ alone
        composed["metrics"] = trusted_metrics(config, where, trust)
    encoder = changed.get("encoder") or {}
    encoder = without_weights(encoder) if encoder else {}  # those of the checkpoint are loaded
    return {**composed, **changed, "encoder": encoder}


def _of_the_checkpoint(checkpoint: "Checkpoint", kind: str, said: Sequence[str]) -> tuple[list[str], list[str]]:
    """A checkpoint's data settings that differ from this program's: numbers, and settings that the user must give."""
    from captioning.data.multi30k import LANGUAGES
    from captioning.data.parallel import LANGUAGES as TRANSLATED

    data, known, made = checkpoint.config["data"], {}, {}
    unresolved = (checkpoint.unresolved or {}).get("data")
    if isinstance(unresolved, Mapping):
        data, known = dict(unresolved), flat(compose([f"data={kind}"], resolve=False)["data"], "data")
    else:  # version 1 kept no interpolations: the settings that contain data.root must be guessed
        rooted = [f"++data.root={ROOT}"]
        known, made = (flat(compose([f"data={kind}", *root])["data"], "data") for root in ([], rooted))
    numbers, unsaid = [], []
    for key, value in flat(data, "data").items():
        if key not in known or key in OURS or key == TOKENIZER:
            continue
        if key == "data.batch_size" and not (type(value) is int and 1 <= value <= AT_ONCE):
            continue
        if key.startswith(("data.source.", "data.prepare")) and key != "data.source._target_":
            continue  # derived from other settings
        text = isinstance(value, str) and key != "data.root"
        if text and key in made and value == str(made[key]).replace(ROOT, str(data.get("root"))):
            continue  # derived from data.root, which is checked separately
        names = type(value) is list and all(type(each) is str for each in value)  # the files of a data set
        if (names or type(value) in (str, int, float, bool, type(None))) and value == known[key]:
            continue
        if any(f"{key}.".startswith(f"{name}.") for name in said):
            continue
        plain = value is None or (isinstance(value, bool | int | float) and abs(value) <= LARGEST)
        plain = plain or (key == "data.language" and value in LANGUAGES)
        plain = plain or (key in SIDES and value in TRANSLATED)
        if plain and key not in SAID:
            numbers.append(f"{key}={'null' if value is None else value}")
        else:
            unsaid.append(f"{key}={str(value)[:200]}")
    return numbers, unsaid


def flat(settings: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    """Nested settings by dotted names."""
    found: dict[str, Any] = {}
    for key, value in settings.items():
        name = f"{prefix}.{key}"
        found |= flat(value, name) if isinstance(value, Mapping) and value else {name: value}
    return found


def _kinds_of_data() -> list[str]:
    """The files of the group ``data``."""
    return sorted(
        file.stem for file in (conf_dir() / "data").glob("*.yaml") if file.stem != "base" and file.stem[0] != "_"
    )


def change(config: dict[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """A checkpoint's configuration with changed settings (``search.size=3``).

    Raises:
        UsageError: an override names a missing setting, or a group of settings.
    """
    from omegaconf import DictConfig, OmegaConf
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError

    from captioning.jobs.overrides import explained, unknown

    for override in overrides:
        key, equals, value = override.partition("=")
        if not equals:
            raise UsageError(f"{override}: expected a setting of the form data.root=folder.")
        try:
            base = OmegaConf.create(config)
            OmegaConf.set_struct(base, True)
            if not _has(config, key):
                raise UsageError(unknown(override, key, base))
            new = OmegaConf.create(f"value: {value}").value
            if isinstance(new, str) and isinstance(OmegaConf.select(base, key), DictConfig):
                raise UsageError(
                    f"{override}: {key} is a group, and of a trained captioner only data and single settings can be "
                    "changed, such as data.root=folder."
                )
            OmegaConf.update(base, key, new)
        except (OmegaConfBaseException, YAMLError) as error:
            raise UsageError(explained(error, override)) from error
        changed: Any = OmegaConf.to_container(base)
        config = changed
    return config


def _has(config: Any, key: str) -> bool:
    """True if nested settings contain a dotted name."""
    for part in key.split("."):
        if not isinstance(config, Mapping) or part not in config:
            return False
        config = config[part]
    return True
