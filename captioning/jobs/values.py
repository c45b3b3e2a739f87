"""The valid values of a setting, from its value in ``conf/`` and the signature of the group's ``_target_``.

No setting is listed here by name. If possible, a signature decides; without one, a number in ``conf/`` requires a
number, and true or false requires true or false. All other values, null and references (``${…}``) are free.
"""

import inspect
from collections.abc import Collection, Iterator, Mapping, Sequence
from difflib import get_close_matches
from functools import cache
from pkgutil import resolve_name
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from omegaconf import DictConfig

from captioning.core.build import takers
from captioning.core.errors import UsageError

NAMES = {int: "a whole number", float: "a number", bool: "true or false", str: "text", NoneType: "null"}
SWITCH = {"yes": "true", "on": "true", "no": "false", "off": "false"}  # text in Hydra, but meant as a truth value


def nearest(name: str, names: Collection[str]) -> str | None:
    """The element of ``names`` nearest to a misspelt name; None if no element is near."""
    return next(iter(get_close_matches(name, [each for each in names if each != name], 1, 0.65)), None)


class Takes:
    """The settings that a class or function takes.

    Attributes:
        annotations: the annotations by setting name; ``Any`` for a missing one.
        open: True if the target may take further settings.
    """

    def __init__(self, target: object) -> None:
        """Read the signature of a ``_target_``; nothing is known of an unreadable target."""
        self.annotations: dict[str, Any] = {}
        self.open = True
        try:
            for taker in takers(resolve_name(str(target))):
                hints = _hints(taker)
                parameters = inspect.signature(taker).parameters.values()
                self.open = any(each.kind is each.VAR_KEYWORD for each in parameters)
                for each in parameters:
                    if each.kind in (each.POSITIONAL_OR_KEYWORD, each.KEYWORD_ONLY):
                        self.annotations.setdefault(each.name, hints.get(each.name, Any))
        except Exception:  # the import of a user's module can raise anything; the build reports the error
            self.open = True
        self.annotations.pop("self", None)

    @property
    def settings(self) -> list[str]:
        """The names of settings that a configuration can give; the program gives others, such as a vocabulary."""
        return [name for name, each in self.annotations.items() if each is Any or any(_described(each))]


@cache
def takes(target: str) -> Takes:
    """The settings of a ``_target_``, read once."""
    return Takes(target)


def check_value(line: str, key: str, value: Any, config: DictConfig, conf: DictConfig) -> None:
    """Refuse a value that a setting can't take.

    Args:
        line: the override, for the error message.
        key: the setting's dotted name.
        value: the override's value.
        config: the configuration with all overrides.
        conf: the configuration of ``conf/`` with the chosen groups alone.

    Raises:
        UsageError: the value is of the wrong kind, is none of the setting's choices, or contains unknown settings.
    """
    for name, leaf in _leaves(key, value):
        if isinstance(leaf, str) and "${" in leaf:
            continue
        default = value_at(conf, name)
        group, _, last = name.rpartition(".")
        target = value_at(config, f"{group}._target_")
        annotation: Any = Any
        if target is not None and not last.startswith("_"):
            known = takes(str(target))
            if last not in known.annotations and not known.open and default is None:
                raise UsageError(_not_taken(line, name, str(target), known))
            annotation = known.annotations.get(last, Any)
        fits = _fits(annotation, leaf)
        if fits is None:
            own = target is not None and target != value_at(conf, f"{group}._target_")
            fits, annotation = own or _is_like(default, leaf), _kind_of(default)
        if not fits:
            raise UsageError(_wrong(line, name, leaf, annotation, default))


def _leaves(key: str, value: Any) -> Iterator[tuple[str, Any]]:
    """The single settings of an override's value, which may be a mapping."""
    if isinstance(value, Mapping) and value:
        for name, inner in value.items():
            yield from _leaves(f"{key}.{name}", inner)
    else:
        yield key, value


def value_at(config: DictConfig, key: str) -> Any:
    """The raw value at a dotted key, with unresolved references; None for a missing key."""
    node: Any = config
    for part in key.split("."):
        if not isinstance(node, DictConfig) or node._is_none() or node._is_interpolation() or node._is_missing():
            return None
        node = node._get_node(part, validate_access=False)
        if node is None:
            return None
    return node if isinstance(node, DictConfig) and not node._is_none() else node._value()


def _hints(function: Any) -> dict[str, Any]:
    try:
        return get_type_hints(function)
    except Exception:  # a user's annotations may be readable only by a type checker
        return {}


def _fits(annotation: Any, value: Any) -> bool | None:
    """True if an annotation admits a value; None if unknown."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin in (Union, UnionType):
        found = [_fits(each, value) for each in arguments]
        return True if True in found else False if False in found else None
    if origin is Literal:
        return any(type(value) is type(each) and value == each for each in arguments)
    if annotation in (None, NoneType):
        return value is None
    if annotation is bool:
        return isinstance(value, bool)
    if annotation in (int, float):
        return isinstance(value, int | float if annotation is float else int) and not isinstance(value, bool)
    if annotation is str:
        return True if isinstance(value, str) else None if isinstance(value, int | float) else False
    kind = origin or annotation
    if isinstance(kind, type) and issubclass(kind, Mapping):
        return isinstance(value, Mapping)
    if isinstance(kind, type) and issubclass(kind, Sequence | set | frozenset):
        return isinstance(value, list)
    return None


def _is_like(default: Any, value: Any) -> bool:
    """True if a value is of the same kind as the value in ``conf/``."""
    if isinstance(default, DictConfig):
        return isinstance(value, Mapping) or value is None
    if value is None or not isinstance(default, bool | int | float):
        return True
    if isinstance(default, bool):
        return isinstance(value, bool) or value in (0, 1)
    return isinstance(value, int | float) and not isinstance(value, bool)


def _kind_of(default: Any) -> Any:
    return bool if isinstance(default, bool) else float if isinstance(default, int | float) else type(default)


def _wrong(line: str, key: str, value: Any, annotation: Any, default: Any) -> str:
    """The message on a value of a wrong kind."""
    if isinstance(default, DictConfig) and not isinstance(value, Mapping):
        listed = (
            ", ".join(f"{key}.{name}" for name in map(str, default) if not name.startswith("_")) or f"{key}._target_"
        )
        return f"{line}: {key} is a group of settings, which are set one by one: {listed}."
    kinds, choices = _described(annotation)
    near = nearest(str(value), choices) or (SWITCH.get(str(value).lower()) if bool in kinds else None)
    if near:
        return f"{line}: {key} does not take {value!r}. Did you mean {key}={near}?"
    wanted = [NAMES.get(kind, "a list") for kind in kinds if kind is not NoneType]
    wanted += [f"one of {', '.join(choices)}"] if choices else []
    wanted += ["null"] if NoneType in kinds else []
    example = f", such as {default!r}" if isinstance(default, int | float) and not isinstance(default, bool) else ""
    return f"{line}: {' or '.join(wanted)} is wanted{example}."


def _described(annotation: Any) -> tuple[list[Any], list[str]]:
    """The kinds of values that an annotation admits, without repeats, and the listed choices."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin in (Union, UnionType):
        parts = [_described(each) for each in arguments]
        kinds = list(dict.fromkeys(kind for found, _ in parts for kind in found))
        if float in kinds and int in kinds:
            kinds.remove(int)
        return kinds, list(dict.fromkeys(choice for _, found in parts for choice in found))
    if origin is Literal:
        return [], [str(each) for each in arguments]
    kind = origin or annotation
    if kind is None or kind in NAMES:
        return [NoneType if kind is None else kind], []
    return [list] if isinstance(kind, type) and issubclass(kind, Sequence) else [], []


def _not_taken(line: str, key: str, target: str, known: Takes) -> str:
    """The message on an added setting that nothing takes."""
    group, _, last = key.rpartition(".")
    near = nearest(last, known.settings)
    remedy = f"Did you mean {group}.{near}?" if near else f"It takes {', '.join(known.settings) or 'none'}."
    return f"{line}: {target} takes no setting {last!r}. {remedy}"
