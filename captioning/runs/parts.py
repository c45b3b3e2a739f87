"""The network of a run and its search, made from the run's configuration."""

from collections.abc import Mapping
from pkgutil import resolve_name
from typing import Any

from captioning.cells import Cell
from captioning.core.build import build, maker, without_foreign
from captioning.core.features import FeatureSpec
from captioning.core.vocabulary import CharacterVocabulary, Vocabulary
from captioning.decoders import Decoder, RecurrentDecoder
from captioning.encoders import Encoder
from captioning.search import Search
from captioning.speed import make_fast

Config = Mapping[str, Any]


def make_encoder(config: Config) -> Encoder:
    """The encoder, with its pretrained weights."""
    return build(config["encoder"], Encoder)


def make_decoder(config: Config, vocabulary: Vocabulary | CharacterVocabulary, features: FeatureSpec) -> Decoder:
    """The decoder, untrained and made fast; one that is not recurrent gets no cell."""
    settings = without_foreign(config["decoder"])
    arguments: dict[str, Any] = {"vocabulary_size": len(vocabulary), "features": features}
    target = resolve_name(settings["_target_"])
    if isinstance(target, type) and issubclass(target, RecurrentDecoder):
        arguments["cell"] = maker(config["cell"], Cell)
    return make_fast(build(settings, Decoder, **arguments))


def make_search(config: Config) -> Search:
    """The search; one of another package is given those of the settings that it takes."""
    settings = config["search"]
    own = str(settings.get("_target_")).startswith("captioning.")
    return build(settings if own else without_foreign(settings), Search)
