"""Where the configuration lies, and how a command line changes it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from captioning.core.errors import UsageError


def conf_dir() -> Path:
    """The folder of Hydra's groups: inside of the installed package, or beside it in a checkout."""
    package = Path(__file__).resolve().parents[1]
    inside = package / "conf"
    return inside if inside.is_dir() else package.parent / "conf"


def compose(overrides: Sequence[str], name: str = "train", resolve: bool = True) -> dict[str, Any]:
    """The resolved configuration of a command line, without running Hydra.

    Args:
        overrides: ``data=coco data.root=…``.
        name: the primary configuration file.
        resolve: whether interpolations are replaced by what they stand for.

    Raises:
        UsageError: an override names a group or a setting that is not there, or a value that it does not take.
    """
    from omegaconf import OmegaConf, open_dict
    from omegaconf.errors import OmegaConfBaseException

    from captioning.jobs.overrides import Composer, explained

    config = Composer(str(conf_dir()), name).compose(overrides)
    chosen = config.hydra.runtime.choices
    with open_dict(config):
        del config["hydra"]
        config.name = None  # these two are interpolations that only a run of Hydra's resolves
        config.choices = {group: chosen[group] for group in list(config.choices)}
    try:
        plain = OmegaConf.to_container(config, resolve=resolve)
    except OmegaConfBaseException as error:
        raise UsageError(explained(error)) from error
    assert isinstance(plain, dict)
    return {str(key): value for key, value in plain.items()}
