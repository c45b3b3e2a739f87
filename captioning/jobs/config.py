"""Where the configuration lies, and how a command line changes it."""

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from captioning.core.errors import CaptioningError
from captioning.core.terminal import printable

OURS = ("data.name", "data.workers")  # of no effect on scores
AT_ONCE = 1024  # photographs in a batch, the most
SAID = ("data.count", "data.scenes_seed")  # numbers that write: scenes are drawn by them
LARGEST = 10**9
ROOT = "@root@"  # stands for data.root, to see which settings are made of it


def conf_dir() -> Path:
    """The folder of Hydra's groups: inside of the installed package, or beside it in a checkout."""
    package = Path(__file__).resolve().parents[1]
    inside = package / "conf"
    return inside if inside.is_dir() else package.parent / "conf"


def compose(overrides: Sequence[str], name: str = "train") -> dict[str, Any]:
    """The resolved configuration of a command line, without running Hydra.

    Args:
        overrides: ``data=coco data.root=…``.
        name: the primary configuration file.

    Raises:
        CaptioningError: an override names a group or a setting that is not there.
    """
    from hydra import compose as hydra_compose
    from hydra import initialize_config_dir
    from hydra.errors import HydraException
    from omegaconf import OmegaConf, open_dict
    from omegaconf.errors import OmegaConfBaseException

    try:
        with initialize_config_dir(str(conf_dir()), version_base="1.3"):
            config = hydra_compose(name, overrides=list(overrides), return_hydra_config=True)
        chosen = config.hydra.runtime.choices
        with open_dict(config):
            del config["hydra"]
            config.name = None  # these two are interpolations that only a run of Hydra's resolves
            config.choices = {group: chosen[group] for group in list(config.choices)}
        plain = OmegaConf.to_container(config, resolve=True)
    except (HydraException, OmegaConfBaseException) as error:
        raise CaptioningError(f"{error}") from error
    assert isinstance(plain, dict)
    return {str(key): value for key, value in plain.items()}


def evaluated(config: Mapping[str, Any], overrides: Sequence[str], where: object) -> dict[str, Any]:
    """The configuration to evaluate a checkpoint with.

    A checkpoint may be a stranger's: of what it says of its data only numbers are taken. Paths are this program's own
    defaults, or the user's.

    Args:
        config: of the checkpoint.
        overrides: the user's: ``data.root=…``, or other data altogether (``data=own data.root=…``).
        where: the checkpoint, for the sentences.

    Raises:
        CaptioningError: an override names a setting that is not there, or a group other than ``data``; the checkpoint's
            data are of another kind or at another place than this program's, and the user has not said where.
    """
    of_data = [each for each in overrides if each.partition("=")[0].split(".")[0] == "data"]
    chosen = next((each.partition("=")[2] for each in of_data if each.startswith("data=")), None)
    kind = chosen or config["choices"].get("data")
    if kind not in _kinds_of_data():
        raise CaptioningError(
            f"{where}: its data are of no kind that is known here (data={printable(str(kind))}). Say which they are: "
            f"data=… ({', '.join(_kinds_of_data())}) and data.root=…"
        )
    said = tuple(each.partition("=")[0] for each in of_data)
    numbers, unsaid = ([], []) if chosen else _of_the_checkpoint(config["data"], str(kind), said)
    if unsaid:
        shown = " ".join(shlex.quote(printable(each)) for each in unsaid)
        raise CaptioningError(
            f"{where}: its data are not at the place where this program looks for them, and what a checkpoint says of "
            f"files is not acted on. Say where they are, for example, if it is right, by adding: {shown}"
        )
    composed = compose([f"data={kind}", *numbers, *(each for each in of_data if not each.startswith("data="))])
    others = {name: settings for name, settings in config.items() if name not in ("data", "choices")}
    changed = change(others, [each for each in overrides if each not in of_data])
    return {**changed, "data": composed["data"]}


def _of_the_checkpoint(data: Mapping[str, Any], kind: str, said: Sequence[str]) -> tuple[list[str], list[str]]:
    """What a checkpoint's settings of its data differ in from this program's: numbers, and what the user must say."""
    numbers, unsaid = [], []
    rooted = [f"++data.root={ROOT}"]
    known, made = (flat(compose([f"data={kind}", *root])["data"], "data") for root in ([], rooted))
    for key, value in flat(data, "data").items():
        if key not in known or key in OURS:
            continue
        if key == "data.batch_size" and not (type(value) is int and 1 <= value <= AT_ONCE):
            continue
        if key.startswith(("data.source.", "data.prepare")) and key != "data.source._target_":
            continue  # made of the other settings
        text = isinstance(value, str) and key != "data.root"
        if text and value == str(made.get(key)).replace(ROOT, str(data.get("root"))):
            continue  # made of data.root, which is looked at by itself
        if type(value) in (str, int, float, bool, type(None)) and value == known[key]:
            continue
        if any(f"{key}.".startswith(f"{name}.") for name in said):
            continue
        plain = value is None or (isinstance(value, bool | int | float) and abs(value) <= LARGEST)
        if plain and key not in SAID:
            numbers.append(f"{key}={'null' if value is None else value}")
        else:
            unsaid.append(f"{key}={str(value)[:200]}")
    return numbers, unsaid


def flat(settings: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    """Nested settings by their dotted names."""
    found: dict[str, Any] = {}
    for key, value in settings.items():
        name = f"{prefix}.{key}"
        found |= flat(value, name) if isinstance(value, Mapping) and value else {name: value}
    return found


def _kinds_of_data() -> list[str]:
    """The files of the group ``data``."""
    return sorted(file.stem for file in (conf_dir() / "data").glob("*.yaml") if file.stem != "base")


def change(config: dict[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """A checkpoint's configuration with some settings changed (``search.size=3``).

    Raises:
        CaptioningError: an override names a setting that is not there, or a group of them.
    """
    from omegaconf import DictConfig, OmegaConf
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError  # type: ignore[import-untyped]

    for override in overrides:
        key, equals, value = override.partition("=")
        if not equals:
            raise CaptioningError(f"{override}: expected a setting of the form data.root=folder.")
        try:
            base = OmegaConf.create(config)
            OmegaConf.set_struct(base, True)
            new = OmegaConf.create(f"value: {value}").value
            if isinstance(new, str) and isinstance(OmegaConf.select(base, key), DictConfig):
                raise CaptioningError(
                    f"{override}: {key} is a group, and of a trained captioner only data and single settings can be "
                    "changed, such as data.root=folder."
                )
            OmegaConf.update(base, key, new)
        except (OmegaConfBaseException, YAMLError) as error:
            raise CaptioningError(f"{override}: {str(error).splitlines()[0]}. Check the setting.") from error
        changed: Any = OmegaConf.to_container(base)
        config = changed
    return config
