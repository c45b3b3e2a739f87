"""Image captioning with recurrent networks.

Imports between subpackages go one way::

    jobs -> tasks -> training, predict -> runs -> decoders -> cells
      |       |
      +--> search, data, encoders, metrics, analysis, report

The subpackage ``core``, below all others, holds common parts: features, states, vocabulary, images, files.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from captioning.cells import Cell
    from captioning.core.errors import CaptioningError
    from captioning.core.features import Features, FeatureSpec
    from captioning.core.state import State
    from captioning.core.vocabulary import Vocabulary
    from captioning.decoders import Decoder
    from captioning.decoders.recurrent import RecurrentDecoder
    from captioning.encoders import Encoder
    from captioning.metrics.metric import Metric
    from captioning.predict.answerer import Answerer
    from captioning.predict.captioner import Caption, Captioner
    from captioning.predict.ensemble import Ensemble
    from captioning.predict.translator import Translator
    from captioning.predict.writer import Writer
    from captioning.search import Search

__version__ = "0.1.0"
__all__ = [
    "Answerer",
    "Caption",
    "Captioner",
    "CaptioningError",
    "Cell",
    "Decoder",
    "Encoder",
    "Ensemble",
    "FeatureSpec",
    "Features",
    "Metric",
    "RecurrentDecoder",
    "Search",
    "State",
    "Translator",
    "Vocabulary",
    "Writer",
    "__version__",
]

_MODULES = {
    "Answerer": "predict.answerer",
    "Caption": "predict.captioner",
    "Captioner": "predict.captioner",
    "CaptioningError": "core.errors",
    "Cell": "cells",
    "Decoder": "decoders",
    "Encoder": "encoders",
    "Ensemble": "predict.ensemble",
    "FeatureSpec": "core.features",
    "Features": "core.features",
    "Metric": "metrics.metric",
    "RecurrentDecoder": "decoders.recurrent",
    "Search": "search",
    "State": "core.state",
    "Translator": "predict.translator",
    "Vocabulary": "core.vocabulary",
    "Writer": "predict.writer",
}


def __getattr__(name: str) -> Any:
    """A public name, imported on first use, so that ``import captioning`` does not import torch."""
    if name in _MODULES:
        found = globals()[name] = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
        return found
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """The public names."""
    return sorted(__all__)
