"""The command line of ``captioning train``, checked before Hydra runs: a wrong one writes nothing."""

import argparse
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

from hydra._internal.utils import get_args_parser
from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import setup_globals
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from captioning.core.errors import CaptioningError, UsageError
from captioning.jobs.overrides import Composer, check_complete, composer_of, explained
from captioning.jobs.paths import quoted_paths
from captioning.jobs.values import nearest

SWEEP = "hydra.mode=MULTIRUN"
WAYS = ("run", "multirun", "cfg", "info", "shell_completion")  # options that exclude one another


def checked(arguments: Sequence[str], folder: str) -> list[str]:
    """Check a command line.

    Args:
        arguments: Hydra's options and overrides, in any order.
        folder: the folder of the groups; an option may name another.

    Returns:
        The arguments in an order that Hydra reads: options first.

    Raises:
        UsageError: an option or an override is wrong.
        CaptioningError: the folder of the run, or of the sweep, can't be made.
    """
    options = _parse(arguments)
    flags = list(arguments)
    for each in options.overrides:
        flags.remove(each)
    if options.experimental_rerun is not None and not Path(options.experimental_rerun).is_file():
        raise UsageError(f"--experimental-rerun {options.experimental_rerun}: there is no such file.")
    if options.hydra_help or options.shell_completion or options.experimental_rerun is not None:
        return [*flags, *options.overrides]
    chosen = [f"--{way}" for way in WAYS if getattr(options, way)]
    if len(chosen) > 1:
        raise UsageError(f"{' and '.join(chosen)} exclude each other. Give one of them.")
    if options.resolve and not (options.cfg or options.help):
        raise UsageError("--resolve has an effect with --cfg job alone. Add it.")
    name = options.config_name or "train"
    own = options.config_path or options.config_dir
    composer = Composer(options.config_path or folder, name, options.config_dir) if own else composer_of(folder, name)
    sweep = options.multirun or SWEEP in options.overrides
    overrides = quoted_paths(options.overrides, sweep)
    config = (composer.check_sweep if sweep else composer.compose)(overrides)
    if options.run or sweep or not (chosen or options.help):
        _check_run(config, sweep)
    return [*flags, *overrides]


@contextmanager
def hydra_errors() -> Iterator[None]:
    """Report Hydra's errors at run time in one line, such as invalid settings of Hydra itself.

    Hydra prints an error and exits, unless the environment variable for full errors is set, in which case Hydra raises
    the error. This function sets the variable, and shows the full error only if the user asked for it.
    """
    asked = os.environ.get("HYDRA_FULL_ERROR")
    os.environ["HYDRA_FULL_ERROR"] = "1"
    try:
        yield
    except (HydraException, OmegaConfBaseException) as error:
        if asked == "1":
            raise
        raise UsageError(explained(error)) from error
    finally:
        if asked is None:
            del os.environ["HYDRA_FULL_ERROR"]
        else:
            os.environ["HYDRA_FULL_ERROR"] = asked


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Hydra's options; a wrong option is an error in one line."""
    parser = get_args_parser()
    known = [name for action in parser._actions for name in action.option_strings]

    def refuse(message: str) -> NoReturn:
        begin, _, odd = message.partition("unrecognized arguments: ")
        near = nearest(odd.split("=")[0], known) if odd and not begin else None
        remedy = f"Did you mean {near}?" if near else "`captioning train --help` tells more."
        raise UsageError(f"{message}. {remedy}" if not odd else f"{odd}: there is no such option. {remedy}")

    parser.error = refuse  # type: ignore[method-assign]
    return parser.parse_intermixed_args(list(arguments))


def _check_run(config: DictConfig, sweep: bool) -> None:
    """Check the requirements of a run: valid values, and a folder that can be created."""
    setup_globals()  # for ${hydra:…}
    key = "sweep" if sweep else "name"
    before = HydraConfig.instance().cfg
    try:
        config.hydra.mode = RunMode.MULTIRUN if sweep else RunMode.RUN
        HydraConfig.instance().set_config(config)
        settings = OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
        check_complete(settings)
        place = Path(str(config.hydra.sweep.dir if sweep else config.hydra.run.dir))
        name = config.get(key)
    except (HydraException, OmegaConfBaseException) as error:
        raise UsageError(explained(error)) from error
    finally:
        HydraConfig.instance().cfg = before
    if name is None or ".." in Path(str(name)).parts:
        raise UsageError(f"{key}={name}: this names no folder under {config.get('out')}. Choose a name.")
    _check_folder(place, f"{key}=…")


def _check_folder(place: Path, name: str) -> None:
    """Refuse a folder that can't be created."""
    there = next(each for each in (place, *place.absolute().parents) if os.path.lexists(each))
    if not there.is_dir():
        raise CaptioningError(f"{there}: this is a file, and {place} can't be a folder. Choose others: {name} out=…")
    if not os.access(there, os.W_OK | os.X_OK):
        raise CaptioningError(f"{there}: no permission to write {place} there. Choose another folder: out=…")
    try:
        with tempfile.TemporaryDirectory(dir=there):  # whoever may write may still not: /proc, a full disk, a quota
            pass
    except OSError as error:
        raise CaptioningError(
            f"{there}: {place} can't be made there ({error.strerror or error}). Choose another folder: out=…"
        ) from error
