"""The network and the search of a run, built from the run's configuration."""

from collections.abc import Mapping, Sequence
from inspect import signature
from typing import Any

from torch import nn

from captioning.answerers import AnswerModel
from captioning.cells import Cell
from captioning.core.build import build, class_of, maker, takers, without_foreign
from captioning.core.errors import CaptioningError
from captioning.core.features import FeatureSpec
from captioning.core.questions import AnswerSet, QuestionVocabulary
from captioning.core.sentences import SourceVocabulary
from captioning.core.vocabulary import CharacterVocabulary, Vocabulary
from captioning.decoders import Decoder
from captioning.encoders import Encoder
from captioning.encoders.sentence import SentenceEncoder
from captioning.runs.settings import MEMBERS
from captioning.search import Search
from captioning.speed import make_fast

Config = Mapping[str, Any]


def make_encoder(config: Config) -> Encoder:
    """The encoder, with its pretrained weights; the encoders of ``encoder=several`` are made first."""
    settings = dict(config["encoder"])
    if isinstance(settings.get(MEMBERS), Mapping):
        settings[MEMBERS] = {name: _member(name, member) for name, member in settings[MEMBERS].items()}
    return build(without_foreign(settings), Encoder)


def _member(name: str, settings: Any) -> Encoder:
    if not isinstance(settings, Mapping) or MEMBERS in settings:
        raise CaptioningError(
            f"encoder.{MEMBERS}.{name} is not the settings of one encoder. Choose it from the group: "
            f"+encoder@encoder.{MEMBERS}.{name}=resnet50."
        )
    return build(without_foreign(settings), Encoder)


def make_sentence_encoder(config: Config, vocabulary: SourceVocabulary) -> SentenceEncoder:
    """The untrained encoder of sentences, made fast.

    Raises:
        CaptioningError: ``encoder`` is none of sentences, or does not take the settings.
    """
    settings = config.get("encoder")
    if not settings:
        raise CaptioningError("task=translation needs an encoder of sentences: take encoder=sentence.")
    cell = maker(without_foreign(config["cell"]), Cell)
    settings = without_foreign(settings)
    if not issubclass(class_of(settings, nn.Module), SentenceEncoder):
        raise CaptioningError(
            f"encoder._target_={settings['_target_']}: this reads no sentences. Take encoder=sentence with "
            "task=translation."
        )
    return make_fast(build(settings, SentenceEncoder, vocabulary_size=len(vocabulary), cell=cell))


def make_decoder(config: Config, vocabulary: Vocabulary | CharacterVocabulary, features: FeatureSpec) -> Decoder:
    """The untrained decoder, made fast; a decoder with a ``cell`` argument receives a function that makes a cell."""
    settings = without_foreign(config["decoder"])
    arguments: dict[str, Any] = {"vocabulary_size": len(vocabulary), "features": features}
    if any("cell" in signature(function).parameters for function in takers(class_of(settings, Decoder))):
        arguments["cell"] = maker(without_foreign(config["cell"]), Cell)
    return make_fast(build(settings, Decoder, **arguments), compiled=bool(config.get("compile")))


def make_answerer(
    config: Config,
    vocabulary: QuestionVocabulary,
    answers: AnswerSet,
    features: FeatureSpec,
    memory: Sequence[int] | None = None,
) -> AnswerModel:
    """The untrained model of answers, made fast.

    Args:
        config: the run's configuration.
        vocabulary: the words of the questions.
        answers: the answers.
        features: the shapes of the encoder's features; without any for a model of questions alone.
        memory: the sizes of a model's memory, as its checkpoint tells them; None for a model that begins.

    Raises:
        CaptioningError: ``answerer`` names no model, or the model does not take the settings.
    """
    if not config.get("answerer"):
        raise CaptioningError("task=answering needs a model of answers: choose one, such as answerer=bow.")
    settings = without_foreign(config["answerer"])
    arguments: dict[str, Any] = {
        "vocabulary_size": len(vocabulary),
        "answers": len(answers),
        "features": features,
    }
    taken = {name for function in takers(class_of(settings, AnswerModel)) for name in signature(function).parameters}
    if "cell" in taken:
        arguments["cell"] = maker(without_foreign(config["cell"]), Cell)
    if "memory" in taken and memory is not None:
        arguments["memory"] = memory
    return make_fast(build(settings, AnswerModel, **arguments))


def make_search(config: Config) -> Search:
    """The search."""
    return build(without_foreign(config["search"]), Search)
