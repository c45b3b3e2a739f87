"""The replacement of a model's plain modules by faster ones, after the model has been built.

``make_fast`` gives each part that has a faster form the class of that form; the part's parameters stay the same
objects. The faster class derives from the part's own class and has the same name, as in ``torch.distributed.fsdp``.
"""

from typing import Any, TypeVar

from torch import nn

from captioning.cells import LSTM, Cell
from captioning.decoders import RecurrentDecoder, ShowAttendTell
from captioning.decoders.attention import AdditiveAttention, SentinelAttention
from captioning.decoders.multi_head import MultiHeadAttention
from captioning.speed.attention import FastAttention, FastMultiHeadAttention, FastSentinelAttention
from captioning.speed.compiled import compile_parts
from captioning.speed.dropout import FastDropout
from captioning.speed.linear import FastLinear
from captioning.speed.lstm import FastLSTM
from captioning.speed.recurrence import FastCell, FastRecurrentDecoder
from captioning.speed.soft_attention import FastShowAttendTell

T = TypeVar("T", bound=nn.Module)

# for exactly these classes: a subclass may compute something else
EXACT: dict[type[nn.Module], type[nn.Module]] = {
    nn.Linear: FastLinear,
    nn.Dropout: FastDropout,
    AdditiveAttention: FastAttention,
    SentinelAttention: FastSentinelAttention,
    MultiHeadAttention: FastMultiHeadAttention,
    LSTM: FastLSTM,
    ShowAttendTell: FastShowAttendTell,
}
# for these classes and their subclasses
BASES: dict[type[nn.Module], type[nn.Module]] = {Cell: FastCell, RecurrentDecoder: FastRecurrentDecoder}

_MADE: dict[type[nn.Module], type[nn.Module] | None] = {}


def make_fast(module: T, compiled: bool = False) -> T:
    """Make a module and its parts fast, in place; parameters, their names and results stay the same.

    Args:
        module: a decoder, or any other module; parts without a faster form stay as they are.
        compiled: whether to use ``torch.compile`` in training, too (``compile=true``).

    Returns:
        The module itself.

    Raises:
        CaptioningError: ``compiled`` is set, and there is no C++ compiler.
    """
    for part in module.modules():
        faster = _faster(type(part))
        if faster is not None:
            part.__class__ = faster
    if compiled:
        compile_parts(module)
    return module


def _faster(plain: type[nn.Module]) -> type[nn.Module] | None:
    """The one faster class of a class; None if there is none, or if the class is fast already."""
    if plain not in _MADE:
        _MADE[plain] = None if hasattr(plain, "plain_class") else _make(plain)
    return _MADE[plain]


def _make(plain: type[nn.Module]) -> type[nn.Module] | None:
    found = EXACT.get(plain) or next((fast for base, fast in BASES.items() if issubclass(plain, base)), None)
    if found is None:
        return None
    names = {"__module__": plain.__module__, "__qualname__": plain.__qualname__, "__doc__": plain.__doc__}
    return type(plain.__name__, (found, plain), {**names, "plain_class": plain, "__reduce_ex__": _reduce})


def _reduce(self: Any, protocol: Any) -> tuple[Any, ...]:
    """The reduced form of a copy or pickle, since the faster class's name leads to the plain class."""
    _, _, *rest = super(type(self), self).__reduce_ex__(protocol)
    return _new, (type(self).plain_class,), *rest


def _new(plain: type[nn.Module]) -> nn.Module:
    faster = _faster(plain)
    assert faster is not None
    made: nn.Module = faster.__new__(faster)
    return made
