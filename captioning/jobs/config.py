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
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    try:
        with initialize_config_dir(str(conf_dir()), version_base="1.3"):
            config = hydra_compose(name, overrides=list(overrides))
        config.name = None  # made of the choices of a run of Hydra's
        plain = OmegaConf.to_container(config, resolve=True)
    except (HydraException, OmegaConfBaseException) as error:
        raise CaptioningError(f"{error}") from error
    assert isinstance(plain, dict)
    return {str(key): value for key, value in plain.items()}


def change(config: dict[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """A checkpoint's configuration with some settings changed (``data.root=…``).

    Raises:
        CaptioningError: an override names a setting that is not there.
    """
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    base = OmegaConf.create(config)
    OmegaConf.set_struct(base, True)
    try:
        for override in overrides:
            key, equals, value = override.partition("=")
            if not equals:
                raise CaptioningError(f"{override}: expected a setting of the form data.root=folder.")
            OmegaConf.update(base, key, OmegaConf.create(f"value: {value}").value)
        plain = OmegaConf.to_container(base)
    except OmegaConfBaseException as error:
        raise CaptioningError(f"{str(error).splitlines()[0]}") from error
    assert isinstance(plain, dict)
    return {str(key): value for key, value in plain.items()}
