"""The folders of a sweep: one for the sweep itself, with one for each job inside.

Hydra names a job's folder after the job's overrides, without the keys in ``exclude_keys`` (``conf/train.yaml``).
``plan`` keeps swept keys in the name, and refuses a sweep in which two jobs would share a folder.
"""

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from hydra._internal.config_loader_impl import get_overrides_dirname
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.config_loader import ConfigLoader
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, Quote, QuotedString
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from captioning.core.errors import CaptioningError
from captioning.core.ownership import claim, is_ours
from captioning.runs.folder import folder_name

BASIC = f"{BasicSweeper.__module__}.{BasicSweeper.__name__}"
SUBDIR = "${folder_name:${hydra.job.override_dirname}}"  # hydra.sweep.subdir in conf/train.yaml
WRITTEN = ("multirun.yaml", "table.csv")  # the files in a sweep's folder, by Hydra and by ``SweepTable``


def plan(config: DictConfig) -> list[str] | None:
    """Set the folders of a sweep's jobs in the sweep's configuration, before anything is written.

    Args:
        config: the sweep's configuration. The list of Hydra's overrides, with which every job is composed, gets two
            more: the keys left out of the folders' names, and the sweep's folder, so that a sweep over ``out`` has one
            folder, too.

    Returns:
        The jobs' folders, relative to the sweep's folder; None if only the sweeper knows the jobs.

    Raises:
        CaptioningError: an override is wrong, the sweep has no job, or two jobs would share a folder.
    """
    with _hydra_errors():
        loader = GlobalHydra.instance().config_loader()
        overrides = _read_overrides(config, loader)
        exclude = _keys_to_exclude(config, overrides)
        quoted = [QuotedString(text, Quote.single).with_quotes() for text in (*exclude, config.hydra.sweep.dir)]
        config.hydra.overrides.hydra.extend(
            [
                f"hydra.job.config.override_dirname.exclude_keys=[{','.join(quoted[:-1])}]",
                f"hydra.sweep.dir={quoted[-1]}",
            ]
        )
        if config.hydra.sweeper._target_ != BASIC:
            return None
        jobs = [job for batch in BasicSweeper.split_arguments(overrides, None) for job in batch]
        if not jobs:
            empty = [each.input_line for each in overrides if each.is_sweep_override()]
            raise CaptioningError(
                f"{' '.join(map(str, empty))}: a sweep without jobs, since one of these has no values. "
                "glob(…) finds files of a configuration group; a list of values is key=a,b."
            )
        swept = {each.get_key_element() for each in overrides if each.is_sweep_override()}
        return _check(
            Path(config.hydra.sweep.dir),
            _subdirs(config, jobs, exclude, loader, swept),
            [" ".join(each for each in job if each.partition("=")[0] in swept) or "the only one" for job in jobs],
        )


def claim_folder(folder: Path) -> None:
    """Claim a folder for the sweep; files of a sweep of a version without marks count as this program's.

    Raises:
        CaptioningError: the folder is a run's, or holds a foreign ``multirun.yaml`` or ``table.csv``.
    """
    if is_ours(folder, "run"):
        raise CaptioningError(f"{folder}: this is the folder of a run. Give the sweep another name (sweep=…).")
    claim(folder, "sweep", "a sweep", tuple(name for name in WRITTEN if not _is_of_an_earlier_version(folder / name)))


def _is_of_an_earlier_version(path: Path) -> bool:
    """True if the content of ``table.csv`` or ``multirun.yaml`` is that of a sweep of this program."""
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError):
        return False
    if path.suffix == ".csv":
        return re.match(r"job,status[,\n]", text) is not None
    return any(f"captioning.{place}.SweepTable" in text for place in ("runs.sweep_table", "training.sweep"))


def _read_overrides(config: DictConfig, loader: ConfigLoader) -> list[Override]:
    """A sweep's overrides: the basic sweeper's ``params``, then the command line's; a key's last override counts."""
    params = OmegaConf.select(config, "hydra.sweeper.params") if config.hydra.sweeper._target_ == BASIC else None
    lines = [f"{key}={value}" for key, value in (params or {}).items()] + list(config.hydra.overrides.task)
    parsed = OverridesParser.create(config_loader=loader).parse_overrides(lines)
    return list({each.get_key_element(): each for each in parsed}.values())


def _keys_to_exclude(config: DictConfig, overrides: Sequence[Override]) -> list[str]:
    """The keys of ``exclude_keys`` with a single value in the whole sweep.

    These are the keys with an override that doesn't sweep. For any other key in ``exclude_keys``, a job has an override
    only from the sweeper: the key is swept, and stays in the name.
    """
    swept = {each.key_or_group for each in overrides if each.is_sweep_override()}
    fixed = {each.key_or_group for each in overrides} - swept
    return [key for key in config.hydra.job.config.override_dirname.exclude_keys if key in fixed]


def _subdirs(
    config: DictConfig, jobs: Sequence[Sequence[str]], exclude: list[str], loader: ConfigLoader, swept: set[str]
) -> Iterator[str]:
    """Each job's ``hydra.sweep.subdir``.

    The composition of a job's configuration takes a tenth of a second. A subdir that depends only on the overrides'
    texts is therefore computed from these texts, except in a sweep over experiments, which may change Hydra's settings.
    """
    own = OmegaConf.to_container(config.hydra.sweep, resolve=False)["subdir"] == SUBDIR  # type: ignore[call-overload,index]
    if own and "experiment" not in swept and not any(key.startswith("hydra") for key in swept):
        naming = config.hydra.job.config.override_dirname
        parser = OverridesParser.create()
        parsed = {line: parser.parse_override(line) for line in dict.fromkeys(line for job in jobs for line in job)}
        for job in jobs:
            overrides = [parsed[line] for line in job if not parsed[line].is_hydra_override()]
            yield folder_name(get_overrides_dirname(overrides, exclude, naming.item_sep, naming.kv_sep))
        return
    before = HydraConfig.instance().cfg
    try:
        for number, job in enumerate(jobs):
            composed = loader.load_sweep_config(config, list(job))
            with open_dict(composed):
                composed.hydra.job.id = composed.hydra.job.num = number
            HydraConfig.instance().set_config(composed)  # for ${hydra:…}
            yield str(composed.hydra.sweep.subdir)
    finally:
        HydraConfig.instance().cfg = before


def _check(folder: Path, subdirs: Iterator[str], jobs: Sequence[str]) -> list[str]:
    """Check that each job has its own folder inside the sweep's folder.

    Args:
        folder: the sweep's folder.
        subdirs: the jobs' folders.
        jobs: the swept overrides of each job, for the error message.

    Returns:
        The jobs' folders, relative to the sweep's folder.

    Raises:
        CaptioningError: a job's folder is another job's folder, inside another job's folder, or outside the sweep's
            folder.
    """
    owners: dict[Path, str] = {}
    remedy = "Give every job values of its own, and a folder that they tell apart (hydra.sweep.subdir)."
    for subdir, job in zip(subdirs, jobs, strict=True):
        place = Path(os.path.relpath(folder / subdir, folder))
        if place == Path() or ".." in place.parts:
            raise CaptioningError(
                f"{folder / subdir}: the folder of a job ({job}) is to lie below the sweep's, {folder}. {remedy}"
            )
        if place in owners:
            raise CaptioningError(
                f"{folder / place}: two jobs would have this folder, {owners[place]} and {job}. {remedy}"
            )
        owners[place] = job
    for place, job in owners.items():
        for parent in place.parents:
            if parent in owners:
                raise CaptioningError(
                    f"{folder / place}: the folder of a job ({job}) would lie in that of another ({owners[parent]}). "
                    f"{remedy}"
                )
    return [place.as_posix() for place in owners]


@contextmanager
def _hydra_errors() -> Iterator[None]:
    """Convert Hydra's errors about an override to ``CaptioningError``."""
    try:
        yield
    except (HydraException, OmegaConfBaseException) as error:
        cause = f"\n{error.__cause__}" if isinstance(error.__cause__, OmegaConfBaseException) else ""
        raise CaptioningError(f"{error}{cause}") from error
