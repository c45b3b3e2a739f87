"""A command line's settings, composed as in Hydra, with one-sentence explanations of wrong overrides.

Hydra answers a wrong override with its search paths or with a stack trace. This module composes the overrides one by
one before Hydra runs, and so identifies the first wrong override and the nearest valid name.
"""

import copy
import shlex
import warnings
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import islice
from pathlib import Path

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_repository import IConfigRepository
from hydra._internal.utils import compute_search_path_dir, create_config_search_path
from hydra.core.config_search_path import SearchPathQuery
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, IntervalSweep, Override, RangeSweep
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from captioning.core.errors import UsageError
from captioning.jobs.paths import PATHS
from captioning.jobs.read_once import ReadOnce
from captioning.jobs.values import check_value, nearest, takes, value_at

MANY = 100  # the maximum checked values of a swept setting; of a range only the first
CALLER = "captioning.jobs.train"  # the base of a relative --config-path, as in hydra.main
NOISE = ("full_key:", "object_type=", "reference_type=", "Config search path", "See https://")
PAIRS = {"[": "]", "{": "}", "(": ")"}


class Composer:
    """A composer of a command line's settings that explains errors in the overrides."""

    def __init__(self, folder: str, name: str = "train", extra: str | None = None) -> None:
        """Open the folders.

        Args:
            folder: the folder of the groups.
            name: the primary configuration file.
            extra: a further folder of groups, given by the user and searched first.

        Raises:
            UsageError: a folder or the file is missing.
        """
        self.name = name.removesuffix(".yaml")
        path = create_config_search_path(compute_search_path_dir(None, CALLER, folder))
        if extra is not None:
            place = Path(extra).absolute()
            if not place.is_dir():
                raise UsageError(f"{extra}: there is no such folder of configuration files. Check --config-dir.")
            path.prepend("command-line", f"file://{place}", SearchPathQuery(provider="schema"))
        self.loader = ConfigLoaderImpl(path)
        self.loader.repository = ReadOnce(path)
        self.parser = OverridesParser.create(config_loader=self.loader)
        try:
            self.loader.ensure_main_config_source_available()
        except HydraException as error:
            raise UsageError(
                f"{folder}: there is no such folder of configuration files. Check --config-path."
            ) from error
        if not self.loader.repository.config_exists(self.name):
            found = [each for each in self.loader.repository.get_group_options("") if not each.startswith("_")]
            raise UsageError(f"--config-name {name}: there is no such file in {folder}. {_choose(name, found)}")
        self.repositories: dict[tuple[str, ...], IConfigRepository] = {}  # by Hydra's own overrides
        self.composed: dict[tuple[str, ...], DictConfig] = {}

    def compose(self, lines: Sequence[str]) -> DictConfig:
        """The configuration of one run with Hydra's own, not resolved.

        Args:
            lines: the overrides, such as ``decoder=lrcn decoder.hidden_size=256``.

        Raises:
            UsageError: an override is wrong.
        """
        overrides = [self.parse(line) for line in lines]
        for each in overrides:
            if each.is_sweep_override():
                key, text = each.get_key_element(), line_of(each).partition("=")[2]
                other = f" A list is {key}=[{text}], and text with a comma is " + shlex.quote(f'{key}="{text}"') + "."
                raise UsageError(
                    f"{line_of(each)}: several values are a sweep, which takes -m (captioning train -m …)."
                    f"{other if isinstance(each.value(), ChoiceSweep) else ''}"
                )
        with warnings.catch_warnings(action="ignore"):  # of a missing folder, reported below
            repository = self._repository(overrides)
        groups = [each for each in overrides if repository.group_exists(each.key_or_group) and not _is_mapping(each)]
        for each in groups:
            if each.is_add() and each.package is None and each.key_or_group in self._chosen():
                raise UsageError(f"{line_of(each)}: a group is chosen without the +: {line_of(each)[1:]}.")
            _check_group(each, repository)
        conf = self._compose_groups(groups)
        config = copy.deepcopy(conf)
        settings = [each for each in overrides if each not in groups]
        for each in settings:
            _apply(each, config, repository)
        for each in settings:
            if not (each.is_delete() or each.is_hydra_override()):
                check_value(line_of(each), each.key_or_group, each.value(), config, conf)
        return config

    def check_sweep(self, lines: Sequence[str]) -> DictConfig:
        """Check a sweep: its first job, and that job with each further value of the swept settings.

        Returns:
            The configuration of the first job.

        Raises:
            UsageError: an override is wrong in one of these jobs.
        """
        jobs: list[list[str]] = [[]]
        for line in lines:
            if not (override := self.parse(line)).is_sweep_override():
                jobs = [[*job, line] for job in jobs]
                continue
            if override.is_hydra_override():
                raise UsageError(f"{line}: Hydra's own settings can't be swept. Give it one value.")
            values = [f"{override.get_key_element()}={value}" for value in _values(override)]
            if values:  # only a sweeper knows the values of an interval
                jobs = [[*job, values[0]] for job in jobs] + [[*jobs[0], value] for value in values[1:]]
        composed = [self.compose(job) for job in jobs]
        return composed[0]

    def parse(self, line: str) -> Override:
        """Parse one override.

        Raises:
            UsageError: the line is no override.
        """
        try:
            override = self.parser.parse_overrides([line])[0]
        except HydraException as error:
            raise UsageError(self._unreadable(line)) from error
        except ValueError as error:  # Python's own, of int()
            raise UsageError(f"{line.partition('=')[0]}: a number has thousands of digits. Correct it.") from error
        if not override.key_or_group:
            raise UsageError(f"{line}: the name of a setting is missing before the =, as in seed=1.")
        if override.key_or_group in PATHS and isinstance(override.value(), list | dict):
            key, _, value = line.partition("=")
            quoted = shlex.quote(f'{key}="{value}"')
            raise UsageError(f"{line}: a path is wanted, and no list. The path of this name is {quoted}.")
        return override

    def _unreadable(self, line: str) -> str:
        key, equals, value = line.partition("=")
        if not equals:
            if line.startswith("-"):
                return f"{line}: there is no such option. `captioning train --help` lists them."
            example = value_at(self._compose_groups([]), key) if key else None
            shown = "value" if example is None or OmegaConf.is_config(example) else repr(example).strip("'")
            return f"{line}: a setting has the form {key}={shown}; the = is missing."
        if unpaired := _unpaired(value):
            return f"{line}: {unpaired}. Put the setting in quotes for the shell where it has spaces: '{key}=…'."
        quoted = shlex.quote(f'{key}="{value}"')
        return f"{line}: this can't be read as a setting. Text with = , : ( ) or quotes is quoted twice: {quoted}."

    def _repository(self, overrides: Sequence[Override]) -> IConfigRepository:
        lines = tuple(line_of(each) for each in overrides if each.key_or_group.startswith("hydra"))
        if lines not in self.repositories:
            try:
                self.repositories[lines] = self.loader._parse_overrides_and_create_caching_repo(self.name, [*lines])[1]
            except HydraException as error:
                raise UsageError(explained(error)) from error
        repository = self.repositories[lines]
        for source in repository.get_sources():
            if "hydra.searchpath" in source.provider and not source.available():
                raise UsageError(f"hydra.searchpath: there is no folder {source.path}. Check the path.")
        return repository

    def _chosen(self) -> list[str]:
        """The groups in which ``conf/`` itself makes a choice."""
        return [str(each) for each in self._compose_groups([]).hydra.runtime.choices]

    def _compose_groups(self, groups: Sequence[Override]) -> DictConfig:
        """The configuration of ``conf/`` with the given choices of groups; composed once."""
        lines = tuple(line_of(each) for each in groups)
        if lines not in self.composed:
            try:
                self.composed[lines] = self.loader.load_configuration(self.name, list(lines), RunMode.RUN)
            except (HydraException, OmegaConfBaseException) as error:
                raise UsageError(explained(error, " ".join(lines))) from error
            except ValueError as error:  # Hydra's own, for a choice that is none
                group = next((each for each in groups if each.value() is None), None)
                said = f"{line_of(group)}: null is no choice of this group" if group else " ".join(lines)
                raise UsageError(f"{said}. Leave the group out by ~{said.partition('=')[0]}.") from error
        return self.composed[lines]


@cache
def composer_of(folder: str, name: str) -> Composer:
    """The one composer of a folder that does not change: it composes each choice of groups once."""
    return Composer(folder, name)


def line_of(override: Override) -> str:
    """An override as typed."""
    return str(override.input_line)


def explained(error: BaseException, what: str = "") -> str:
    """The message, in one line, for an error of Hydra or OmegaConf.

    Args:
        error: the raised exception.
        what: the overrides that caused the error, if known.
    """
    while not str(error).strip() and error.__cause__ is not None:
        error = error.__cause__
    said = []
    for line in (each.strip() for each in str(error).splitlines()):
        if not line or line.startswith(NOISE):
            break
        said.append(line if line.endswith((".", "?")) else f"{line}.")
    key = getattr(error, "full_key", None)
    return f"{what or key or 'configuration'}: {' '.join(said) or type(error).__name__} Check the setting."


def check_complete(config: DictConfig) -> None:
    """Refuse a run without a mandatory value, or with a reference to a missing setting.

    Args:
        config: the run's configuration with Hydra's own, for ``${hydra:…}``.

    Raises:
        UsageError: the configuration is incomplete; the message names the setting and the remedy.
    """
    missing = sorted(key for key in OmegaConf.missing_keys(config) if not key.startswith("hydra."))
    if missing:
        raise UsageError(f"{missing[0]} has no value: add {missing[0]}=….")
    for key, node in _references(config):
        try:
            OmegaConf.select(config, key, throw_on_missing=True)
        except OmegaConfBaseException as error:
            if "hydra:" not in node:  # some of Hydra's settings are known only during the run
                raise UsageError(f"{key}={node}: {str(error).splitlines()[0]}. Check the reference.") from error


def _references(config: DictConfig, prefix: str = "") -> Iterator[tuple[str, str]]:
    """The dotted names and texts of settings that refer to other settings."""
    for key in config:
        name = f"{prefix}{key!s}"
        node = config._get_node(key, validate_access=False)
        if OmegaConf.is_interpolation(config, str(key)):
            yield name, str(node._value())  # type: ignore[union-attr]
        elif isinstance(node, DictConfig) and name != "hydra" and not node._is_none():
            yield from _references(node, f"{name}.")


def _values(override: Override) -> list[str]:
    """The values of a swept setting as texts; none if a sweeper draws the values."""
    value = override.value()
    many = 0 if isinstance(value, IntervalSweep) else 1 if isinstance(value, RangeSweep) else MANY
    return [str(each) for each in islice(override.sweep_string_iterator(), many)] if many else []


def _is_mapping(override: Override) -> bool:
    return isinstance(override.value(), dict)


def _check_group(override: Override, repository: IConfigRepository) -> None:
    """Refuse a choice that a group does not have."""
    line, group, value = line_of(override), override.key_or_group, override.value()
    if override.is_delete():
        if not group.startswith("hydra/"):
            raise UsageError(f"{line}: every run has its {group}. Choose another one: {group}=…")
        return
    if override.is_force_add():
        raise UsageError(f"{line}: a group is chosen without the +: {group}={value}.")
    options = [each for each in repository.get_group_options(group) if not each.startswith("_")]
    for choice in value if isinstance(value, list) else [value]:
        if choice is not None and not repository.config_exists(f"{group}/{choice}"):
            remedy = _choose(str(choice), options, f"{group}=")
            raise UsageError(f"{line}: there is no {str(choice)!r} in the group {group}. {remedy}")


def _choose(name: str, options: Sequence[str], before: str = "") -> str:
    """The remedy for an unknown name."""
    near = nearest(name, options)
    return f"Did you mean {before}{near}?" if near else f"Choose one of {', '.join(options)}."


def _apply(override: Override, config: DictConfig, repository: IConfigRepository) -> None:
    """Change a setting as Hydra does, or raise the reason for a failure."""
    line, key = line_of(override), override.key_or_group
    if override.package is not None or "/" in key:
        groups = _groups(repository)
        near = nearest(key, groups)
        remedy = f"Did you mean {near}={override.value()}?" if near else f"The groups are {', '.join(groups)}."
        raise UsageError(f"{line}: there is no group {key!r}. {remedy}")
    parts = key.split(".")
    for end in range(1, len(parts)):
        above = value_at(config, ".".join(parts[:end]))
        if above is not None and not OmegaConf.is_config(above) and not str(above).startswith("${"):
            name = ".".join(parts[:end])
            raise UsageError(f"{line}: {name} is a single setting ({name}={above!r}) and has none below it.")
    there = value_at(config, key) is not None
    if override.is_delete():
        _check_deletion(line, key, config, repository)
    if override.is_add() and there and not isinstance(override.value(), dict | list):
        raise UsageError(f"{line}: there is a setting {key} already. Leave the + out: {line[1:]}.")
    try:
        ConfigLoaderImpl._apply_overrides_to_config([override], config)
    except HydraException as error:
        cause = error.__cause__
        full = str(getattr(cause, "full_key", key) if _is_mapping(override) else key)
        if "struct" in str(cause) or "not in '" in str(cause):
            raise UsageError(_unknown(line, full, key, config, repository)) from error
        raise UsageError(explained(cause or error, line)) from error
    except (AttributeError, TypeError, ValueError) as error:  # OmegaConf's errors, for a mapping in place of null
        raise UsageError(explained(error, line)) from error


def _check_deletion(line: str, key: str, config: DictConfig, repository: IConfigRepository) -> None:
    """Refuse the deletion of a missing setting, or of a setting that the program reads by name."""
    group, _, last = key.rpartition(".")
    node = value_at(config, group) if group else config
    if not isinstance(node, DictConfig) or last not in node:
        raise UsageError(_unknown(line, key, key, config, repository))
    if not (isinstance(node._get_node(last, validate_access=False), DictConfig) and group) and "_target_" not in node:
        raise UsageError(f"{line}: every run reads {key}, which can't be left out. Give it another value: {key}=…")


def _groups(repository: IConfigRepository) -> list[str]:
    """All groups, ``hydra/launcher`` among them."""
    top, of_hydra = (repository.get_group_options(below, ObjectType.GROUP) for below in ("", "hydra"))
    return [each for each in top if each != "hydra"] + [f"hydra/{each}" for each in of_hydra]


def _unknown(line: str, full: str, key: str, config: DictConfig, repository: IConfigRepository) -> str:
    """The message on a missing setting, which lies below the override's key if the value is a mapping."""
    value = line.partition("=")[2] if full == key else ""
    return unknown(line, full, config, value, _groups(repository))


def unknown(line: str, key: str, config: DictConfig, value: str = "", groups: Sequence[str] = ()) -> str:
    """The message on a missing setting, with the nearest existing one.

    Args:
        line: the override.
        key: the missing setting.
        config: the configuration without the setting.
        value: the setting's value in the override.
        groups: the groups of ``conf/``; without groups no signature is read, since ``config`` may be a stranger's
            checkpoint's.
    """
    node, place, parts = config, "", key.split(".")
    while len(parts) > 1 and isinstance(inner := value_at(node, parts[0]), DictConfig):
        node, place, parts = inner, f"{place}{parts[0]}.", parts[1:]
    name, *rest = parts
    names = [str(each) for each in node if not str(each).startswith("_")]
    known = takes(str(value_at(node, "_target_"))) if groups and place and "_target_" in node else None
    taken = known.settings if known and not rest else []
    near = name if name in taken else nearest(name, [*names, *taken])
    if near is None and not place:
        near = nearest(name, groups)
    if near is None and not place and not rest:  # the bare name without its group: max_epochs=3
        near = next((f"{each}.{name}" for each in names if _has(node, each, name)), None)
    if place:
        what = f"{place[:-1]} has no setting {name!r}"
    else:
        what = f"there is no group {name!r}" if rest else f"there is no group and no setting {name!r}"
    own = f" (A class of your own is given one more by {shlex.quote(f'+{line}')}.)" if known and known.open else ""
    if near is None:
        remedy = f"It has {', '.join(names)}." if place else "`captioning train --help` lists the groups."
        return f"{line}: {what}. {remedy}{own}"
    new = near in taken and near not in node
    shown = shlex.quote(f"{'+' if new else ''}{'.'.join([f'{place}{near}', *rest])}{f'={value}' if value else ''}")
    if near == name:
        return f"{line}: conf/ leaves {key} out, but {node._target_} takes it. Add it by {shown}."
    return f"{line}: {what}. Did you mean {shown}?{own}"


def _has(config: DictConfig, group: str, name: str) -> bool:
    inner = config._get_node(group, validate_access=False)
    return group != "hydra" and isinstance(inner, DictConfig) and not inner._is_none() and name in inner


def _unpaired(value: str) -> str | None:
    """The bracket or quote without a partner; None if all are paired."""
    waiting: list[str] = []
    quote = ""
    for each in value:
        if quote:
            quote = "" if each == quote else quote
        elif each in "'\"":
            quote = each
        elif each in PAIRS:
            waiting.append(each)
        elif each in PAIRS.values() and (not waiting or PAIRS[waiting.pop()] != each):
            return f"nothing opens what {each} closes"
    if quote:
        return f"the quote {quote} is not closed"
    return f"the bracket {waiting[-1]} is not closed" if waiting else None
