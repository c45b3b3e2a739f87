"""The location of the configuration, and its changes by a command line."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from captioning.core.errors import UsageError


def conf_dir() -> Path:
    """The folder of Hydra's groups: inside the installed package, or beside the package in a checkout."""
    package = Path(__file__).resolve().parents[1]
    inside = package / "conf"
    return inside if inside.is_dir() else package.parent / "conf"


def compose(overrides: Sequence[str], name: str = "train", resolve: bool = True) -> dict[str, Any]:
    """The resolved configuration of a command line, without running Hydra.

    Args:
        overrides: the overrides of the command line, such as ``data=coco data.root=…``.
        name: the primary configuration file.
        resolve: True to replace interpolations by their values.

    Raises:
        UsageError: an override names a missing group or setting, or an invalid value.
    """
    from omegaconf import OmegaConf, open_dict
    from omegaconf.errors import OmegaConfBaseException

    from captioning.jobs.overrides import composer_of, explained
    from captioning.jobs.paths import quoted_paths

    config = composer_of(str(conf_dir()), name).compose(quoted_paths(overrides))
    chosen = config.hydra.runtime.choices
    with open_dict(config):
        del config["hydra"]
        config.name = None  # only a Hydra run resolves the interpolations of these two settings
        config.choices = {group: chosen[group] for group in list(config.choices)}
    try:
        plain = OmegaConf.to_container(config, resolve=resolve)
    except OmegaConfBaseException as error:
        raise UsageError(explained(error)) from error
    assert isinstance(plain, dict)
    return {str(key): value for key, value in plain.items()}
