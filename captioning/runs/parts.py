"""The network of a run and its search, made from the run's configuration."""

from collections.abc import Mapping
from typing import Any

from captioning.cells import Cell
from captioning.core.build import build, maker, without_foreign
from captioning.core.features import FeatureSpec
from captioning.core.vocabulary import CharacterVocabulary, Vocabulary
from captioning.decoders import Decoder
from captioning.encoders import Encoder
from captioning.search import Search

Config = Mapping[str, Any]


def make_encoder(config: Config) -> Encoder:
    """The encoder, with its pretrained weights."""
    return build(config["encoder"], Encoder)


def make_decoder(config: Config, vocabulary: Vocabulary | CharacterVocabulary, features: FeatureSpec) -> Decoder:
    """The decoder, untrained."""
    cell = maker(config["cell"], Cell)
    return build(
        without_foreign(config["decoder"]), Decoder, vocabulary_size=len(vocabulary), features=features, cell=cell
    )


def make_search(config: Config) -> Search:
    """The search."""
    return build(config["search"], Search)
