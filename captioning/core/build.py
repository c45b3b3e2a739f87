"""Objects made from configurations: Hydra's ``_target_``, checked against a base class.

A configuration may come from a stranger's checkpoint, so this module checks what ``_target_`` names before calling it.
"""

import inspect
import logging
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pkgutil import resolve_name
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from captioning.core.errors import CaptioningError

T = TypeVar("T")

log = logging.getLogger(__name__)


def build(config: Mapping[str, Any], kind: type[T], /, **arguments: Any) -> T:
    """Make the object that a configuration names.

    Args:
        config: the dotted path of a class as ``_target_``, and the class's settings. Settings with a ``_target_`` of
            their own are made first; with ``_partial_`` such a setting is a function whose other arguments come later.
        kind: the required base class.
        arguments: further arguments, not from the configuration.

    Raises:
        CaptioningError: the class does not exist, is not a subclass of ``kind``, or does not take the settings (or a
            value outside of its ``Literal`` choices).
    """
    return _call(class_of(config, kind), config, arguments)


def maker(config: Mapping[str, Any], kind: type[T]) -> Callable[..., T]:
    """A function that makes the object once the missing arguments are known.

    Raises:
        CaptioningError: see ``build``; errors of the missing arguments come with the later call.
    """
    _check(class_of(config, kind), config, {}, missing=True)
    return partial(build, config, kind)


def function(config: Mapping[str, Any], returns: type[T]) -> Callable[..., T]:
    """The function that a configuration names, with its settings filled in.

    Args:
        config: the dotted path of the function as ``_target_``, and its settings.
        returns: the required return annotation.

    Raises:
        CaptioningError: the function does not exist, returns something else, or does not take the settings.
    """
    found = _function(config, returns)
    _check(found, config, {}, missing=True)
    return partial(found, **_settings(config))


def call(config: Mapping[str, Any], *returns: type[T]) -> T:
    """Call the function that a configuration names, if its return annotation is one of ``returns``.

    Args:
        config: the dotted path of the function as ``_target_``, and its arguments.
        returns: the permitted return annotations.

    Raises:
        CaptioningError: the function does not exist, returns something else, or does not take the settings.
    """
    return _call(_function(config, *returns), config, {})


def without_foreign(config: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration without the settings that a class outside of this package does not take; a warning lists them.

    So ``decoder._target_=my_module.MyDecoder`` works on top of any ``decoder=…`` and its settings. For a class of this
    package ``build`` refuses such settings.
    """
    if str(config.get("_target_")).startswith("captioning."):
        return dict(config)
    cls, known = _import(config), {"_target_", "_partial_"}
    for function in takers(cls) if isinstance(cls, type) else ():
        known |= set(inspect.signature(function).parameters)
    foreign = [key for key in config if key not in known]
    if foreign:
        log.warning("%s has no setting %s: left out.", config["_target_"], " and no ".join(foreign))
    return {key: value for key, value in config.items() if key in known}


def class_of(config: Mapping[str, Any], kind: type[T]) -> type[T]:
    """The class that a configuration names.

    Raises:
        CaptioningError: the class does not exist, or is not a subclass of ``kind``.
    """
    cls = _import(config)
    if not (isinstance(cls, type) and issubclass(cls, kind)):
        raise CaptioningError(f"_target_: {config.get('_target_')} is not a {kind.__name__}.")
    if inspect.isabstract(cls):
        without = " and no ".join(sorted(getattr(cls, "__abstractmethods__", ())))
        raise CaptioningError(
            f"_target_: {config.get('_target_')} has no {without}, which a {kind.__name__} must have."
        )
    return cls


def _function(config: Mapping[str, Any], *returns: type[T]) -> Callable[..., T]:
    found = _import(config)
    if not callable(found) or get_type_hints(found).get("return") not in returns:
        names = " or ".join(kind.__name__ for kind in returns)
        raise CaptioningError(f"_target_: {config.get('_target_')} is not a function that returns {names}.")
    result: Callable[..., T] = found
    return result


def _settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """The settings, with an object in place of each nested ``_target_``."""
    return {key: _made(value) for key, value in config.items() if key not in ("_target_", "_partial_")}


def _made(value: Any) -> Any:
    if not (isinstance(value, Mapping) and "_target_" in value):
        return value
    found = _import(value)
    if not callable(found):
        raise CaptioningError(f"_target_: {value['_target_']} is neither a class nor a function.")
    if value.get("_partial_"):
        _check(found, value, {}, missing=True)
        return partial(found, **_settings(value))
    return _call(found, value, {})


def _import(config: Mapping[str, Any]) -> Any:
    if not isinstance(config, Mapping) or "_target_" not in config:
        raise CaptioningError(f"_target_: {config} names no class or function by its dotted path.")
    target = str(config.get("_target_"))
    try:
        return resolve_name(target)
    except Exception as error:
        reason = str(error).splitlines()[0].rstrip(".") if str(error) else type(error).__name__
        raise CaptioningError(f"_target_: {target} can't be imported ({reason}). Check the name.") from error


def takers(function: Callable[..., Any]) -> Iterator[Callable[..., Any]]:
    """The functions that take settings: a function, or a class's ``__init__`` and those to which it forwards ``**``."""
    if not isinstance(function, type):
        yield function
        return
    for ancestor in inspect.getmro(function):
        if "__init__" in vars(ancestor):
            taker = vars(ancestor)["__init__"]
            yield taker
            parameters = inspect.signature(taker).parameters.values()
            if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
                return


def _check_choices(function: Callable[..., Any], settings: Mapping[str, Any], target: Any) -> None:
    """Refuse a value that a ``Literal`` annotation does not list."""
    hints: dict[str, Any] = {}
    for taker in takers(function):
        try:
            hints = get_type_hints(taker) | hints
        except (NameError, TypeError):  # annotations that only a type checker can resolve
            continue
    for name in settings.keys() & hints.keys():
        choices = get_args(hints[name]) if get_origin(hints[name]) is Literal else ()
        if choices and settings[name] not in choices:
            listed = ", ".join(map(str, choices))
            raise CaptioningError(f"{target}: {name}={settings[name]} is not one of its choices: {listed}.")


def _check(
    found: Callable[..., Any], config: Mapping[str, Any], arguments: Mapping[str, Any], missing: bool = False
) -> None:
    """Refuse settings that a class or function does not take; with ``missing``, other arguments may come later."""
    keywords = {key: value for key, value in config.items() if key not in ("_target_", "_partial_")}
    signature = inspect.signature(found)
    try:
        (signature.bind_partial if missing else signature.bind)(**keywords, **arguments)
    except TypeError as error:
        raise CaptioningError(f"{config.get('_target_')} does not take these settings: {error}.") from error
    _check_choices(found, keywords, config.get("_target_"))


def _call(found: Callable[..., T], config: Mapping[str, Any], arguments: Mapping[str, Any]) -> T:
    _check(found, config, arguments)
    try:
        return found(**_settings(config), **arguments)
    except TypeError as error:
        if "unexpected keyword argument" not in str(error):
            raise
        # raised by a base class that receives the settings through **
        raise CaptioningError(f"{config.get('_target_')} does not take these settings: {error}.") from error
