"""Where the configuration lies, and how a command line changes it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from captioning.core.errors import CaptioningError


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


def change(config: dict[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """A checkpoint's configuration with some settings changed (``data.root=…``).

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
        base = OmegaConf.create(config)
        OmegaConf.set_struct(base, True)
        try:
            new = OmegaConf.create(f"value: {value}").value
            if isinstance(new, str) and isinstance(OmegaConf.select(base, key), DictConfig):
                raise CaptioningError(
                    f"{override}: {key} is a group, and of a trained captioner only single settings can be changed, "
                    "such as data.root=folder."
                )
            OmegaConf.update(base, key, new)
        except (OmegaConfBaseException, YAMLError) as error:
            raise CaptioningError(f"{override}: {str(error).splitlines()[0]}. Check the setting.") from error
        changed: Any = OmegaConf.to_container(base)
        for name, before in config["data"].items():
            if changed["data"][name] != before:
                changed["data"] = _follow(changed["data"], name, before, changed["data"][name])
        config = changed
    return config


def _follow(value: Any, name: str, before: Any, now: Any, key: str = "") -> Any:
    """Let what was made of a setting when the configuration was resolved follow the setting.

    ``data.source.root`` was ``${data.root}`` once and ``data.images`` was ``${data.root}/images``: what equals the
    setting's former value and is a path or has its name, and what is a path below it, follow.

    Args:
        value: of the settings, or one of them.
        name: of the setting that was changed, "root".
        before: its former value.
        now: its value.
        key: the name of ``value``.
    """
    if value == before and (key == name or isinstance(value, str)):
        return now
    if isinstance(value, dict):
        return {inner: _follow(part, name, before, now, inner) for inner, part in value.items()}
    if isinstance(value, str) and isinstance(before, str) and value.startswith(f"{before}/"):
        return f"{now}{value[len(before) :]}"
    return value
