"""What a run trains, and on what: a captioner on captioned photographs, or a language model on a text."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import hydra.utils
import pytorch_lightning as pl
import torch

from captioning.core.build import build, call
from captioning.core.errors import CaptioningError
from captioning.core.features import NO_FEATURES
from captioning.core.vocabulary import CharacterVocabulary, Vocabulary
from captioning.data import CaptionedPhotos, Text
from captioning.data.captions import build_vocabulary
from captioning.data.streams import TextData
from captioning.decoders import LanguageModel
from captioning.runs import parts
from captioning.search import Sample
from captioning.speed.compiled import compile_attention, compile_loop
from captioning.tasks import assembly
from captioning.tasks.captioning.module import CaptioningModule
from captioning.tasks.captioning.scoring import Scorer
from captioning.tasks.language.module import LanguageModule
from captioning.training.module import TrainingModule
from captioning.training.objectives import CrossEntropy

log = logging.getLogger(__name__)

Source = CaptionedPhotos | Text


@dataclass(frozen=True)
class Task:
    """What a run trains, and on what.

    Attributes:
        module: untrained.
        vocabulary: of what is trained.
        data: its batches.
        size: of the data, in words.
    """

    module: TrainingModule
    vocabulary: Vocabulary | CharacterVocabulary
    data: pl.LightningDataModule
    size: str


def read_source(config: dict[str, Any]) -> Source:
    """What ``data.source`` reads."""
    source: Source = call(config["data"]["source"], *get_args(Source))
    return source


def make_task(config: dict[str, Any], source: Source, folder: Path, device: torch.device) -> Task:
    """The task that a source is for.

    Args:
        config: of the run.
        source: what ``data.source`` reads.
        folder: of the run.
        device: where features that are not stored yet are computed.

    Raises:
        CaptioningError: the configuration does not go with the source.
    """
    task = (
        language_task(config, source, folder) if isinstance(source, Text) else captioning_task(config, source, device)
    )
    if config["monitor"] not in task.module.monitors:
        there = ", ".join(task.module.monitors)
        raise CaptioningError(f"monitor={config['monitor']}: there is no such measurement here. There are {there}.")
    return task


def captioning_task(config: dict[str, Any], photos: CaptionedPhotos, device: torch.device) -> Task:
    """A captioner, untrained, and its data; a frozen encoder's features are stored here."""
    vocabulary = build_vocabulary(photos["train"], config["data"]["minimum_count"])
    encoder = parts.make_encoder(config)
    decoder = parts.make_decoder(config, vocabulary, encoder.spec)
    encoder.keep(decoder.reads)
    if config["compile"]:
        compile_attention(decoder)
    if config["word_vectors"]:
        found = decoder.load_vectors(config["word_vectors"], vocabulary.words)
        log.info("%s: vectors of %d of the %d words.", config["word_vectors"], found, len(vocabulary))
    module = CaptioningModule(
        encoder,
        decoder,
        vocabulary,
        parts.make_search(config),
        build(config["objective"], CrossEntropy),
        optimizer=hydra.utils.instantiate(config["optimizer"]),
        schedule=hydra.utils.instantiate(config["scheduler"]),
        sampling=hydra.utils.instantiate(config["sampling"]),
        encoder_lr=config["encoder_lr"],
        score=Scorer([photo.captions for photo in photos["val"]]),
        config=config,
    )
    data = assembly.make_data(config, photos, vocabulary, encoder, decoder.reads, device)
    return Task(module, vocabulary, data, f"{len(photos['train'])} photographs, {len(vocabulary)} words")


def language_task(config: dict[str, Any], text: Text, folder: Path) -> Task:
    """A language model of characters, untrained, and its text."""
    data = TextData(text, batch_size=config["data"]["batch_size"], chunk=config["data"]["chunk"])
    decoder = parts.make_decoder(config, text.vocabulary, NO_FEATURES)
    if not isinstance(decoder, LanguageModel):
        raise CaptioningError(
            f"{type(decoder).__name__} captions photographs, and {text.path} is a text: "
            "train with experiment=char_rnn, or with decoder=language_model."
        )

    if config["compile"]:
        compile_loop(decoder)

    def sample(seed: int) -> Sample:
        return build({**config["search"], "seed": seed}, Sample)

    sample(config["seed"])  # what it does not take is said now, and not at the first sample
    module = LanguageModule(
        decoder,
        text.vocabulary,
        build(config["objective"], CrossEntropy),
        optimizer=hydra.utils.instantiate(config["optimizer"]),
        schedule=hydra.utils.instantiate(config["scheduler"]),
        config=config,
        sample=sample,
        samples=folder / "samples.txt",
    )
    return Task(module, text.vocabulary, data, f"{text.training} characters, {len(text.vocabulary)} different ones")
