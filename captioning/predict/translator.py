"""Translations from Python: ``Translator.load("runs/multi30k_translation")("A dog runs.")``.

Dimensions: B sentences, T tokens of a translation, L tokens of a sentence.
"""

import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from captioning.core.errors import CaptioningError
from captioning.core.sentences import Sentences, SourceVocabulary
from captioning.core.vocabulary import END, Vocabulary
from captioning.decoders import Decoder
from captioning.encoders.sentence import SentenceEncoder
from captioning.predict.loading import load
from captioning.runs.checkpoint import Checkpoint
from captioning.runs.parts import make_decoder, make_search, make_sentence_encoder
from captioning.search import Captions, Search
from captioning.text.segmenters import Segmenter

SEGMENTERS = "segmenters"  # the name among a checkpoint's contents


@dataclass(frozen=True)
class Translation:
    """The translation of one sentence.

    Attributes:
        text: the translation.
        tokens: its T tokens, ``<end>`` last unless it was cut at the search's ``max_length``.
        source: the L tokens of the sentence, ``<end>`` last; a token that the model does not know is ``<unk>`` to it.
        score: the score of the search.
        attention: ``(T, L)``, the weight of each token of the sentence before each token of the translation; None if
            not requested, or without attention.
    """

    text: str
    tokens: Sequence[str] = ()
    source: Sequence[str] = ()
    score: float = 0.0
    attention: "np.ndarray[tuple[int, int], np.dtype[np.float32]] | None" = None


@dataclass(frozen=True)
class Languages:
    """The words and tokens of both languages, as a checkpoint keeps them.

    Attributes:
        sources: the words of the language to translate from.
        targets: the words of the language to translate to.
        segmenters: the tokens of both.
    """

    sources: SourceVocabulary
    targets: Vocabulary
    segmenters: tuple[Segmenter, Segmenter]

    @classmethod
    def of(cls, checkpoint: Checkpoint) -> "Languages":
        """The languages of a checkpoint.

        Raises:
            CaptioningError: the checkpoint is of another task, or damaged.
        """
        sources, targets = checkpoint.translated
        content = checkpoint.contents.get(SEGMENTERS)
        if not isinstance(content, list) or len(content) != 2:
            raise CaptioningError(f"{checkpoint.path}: it does not say how sentences are split. Copy it again.")
        try:
            return cls(sources, targets, (Segmenter.of(content[0]), Segmenter.of(content[1])))
        except CaptioningError as error:
            raise CaptioningError(f"{checkpoint.path}: {error}") from error

    def to_json(self) -> dict[str, Any]:
        """Plain values, as checkpoints keep them."""
        return {
            "sources": list(self.sources.words),
            "targets": list(self.targets.words),
            SEGMENTERS: [segmenter.to_json() for segmenter in self.segmenters],
        }


class Translator:
    """A trained encoder of sentences and decoder, with the words of both languages.

    Attributes:
        encoder: the encoder.
        decoder: the decoder.
        languages: the words and tokens of both languages.
        config: the configuration of the trained run.
    """

    def __init__(
        self, encoder: SentenceEncoder, decoder: Decoder, languages: Languages, config: Mapping[str, Any]
    ) -> None:
        """Take the parts, and put them in evaluation mode."""
        self.encoder, self.decoder = encoder.eval(), decoder.eval()
        self.languages, self.config = languages, config

    @classmethod
    def load(cls, path: str | os.PathLike[str], device: str = "auto", trust: Collection[str] = ()) -> "Translator":
        """Read a checkpoint, also a stranger's: no code that the checkpoint holds or names is run (docs/security.md).

        Args:
            path: a ``.ckpt`` file, or a run's folder (its best checkpoint).
            device: the device; ``"auto"`` is the GPU if there is one, else the CPU.
            trust: modules or classes outside of this package that the checkpoint may name; ``load`` imports them.

        Raises:
            CaptioningError: the checkpoint does not exist, is of another task, names a class that is not trusted, or
                does not fit this version of the code.
        """
        trained = load(path, device, trust, Languages.of, _make)
        return cls(trained.parts["encoder"], trained.parts["decoder"], trained.vocabulary, trained.config)

    @property
    def device(self) -> torch.device:
        """The translator's device."""
        device: torch.device = next(self.decoder.parameters()).device
        return device

    def __call__(self, text: str, search: Search | None = None) -> str:
        """The translation of one sentence."""
        return next(self.translate([text], search)).text

    def translate(
        self, texts: Sequence[str], search: Search | None = None, batch_size: int = 32, attention: bool = False
    ) -> Iterator[Translation]:
        """Translate sentences one after the other; the translation of an empty text is empty.

        Args:
            texts: the sentences.
            search: the search; None for the search of ``config``.
            batch_size: the number of sentences per batch.
            attention: whether to return the weights of the attention.

        Raises:
            CaptioningError: attention is requested and the decoder has none; ``batch_size`` is below 1.
        """
        if batch_size < 1:
            raise CaptioningError(f"A batch of {batch_size} sentences: take 1 or more at a time.")
        search = (search or make_search(self.config)).for_vocabulary(self.languages.targets)
        for begin in range(0, len(texts), batch_size):
            sources = [self.languages.segmenters[0].split(text) for text in texts[begin : begin + batch_size]]
            full = [tokens for tokens in sources if tokens]
            found = iter(self._translate(full, search, attention) if full else [])
            yield from (next(found) if tokens else Translation("") for tokens in sources)

    def _translate(self, sources: Sequence[Sequence[str]], search: Search, attention: bool) -> Iterator[Translation]:
        sentences = Sentences.of([self.languages.sources.read(tokens) for tokens in sources])
        yield from self.translate_numbers(sentences, [[*tokens, "<end>"] for tokens in sources], search, attention)

    def translate_numbers(
        self, sentences: Sentences, sources: Sequence[Sequence[str]], search: Search, attention: bool = False
    ) -> Iterator[Translation]:
        """Translate B sentences given as numbers, see ``translate``.

        Args:
            sentences: the sentences.
            sources: their tokens, ``<end>`` included.
            search: the search, for the vocabulary.
            attention: whether to return the weights of the attention.
        """
        with torch.inference_mode():
            found: Captions = search(self.decoder, self.encoder(sentences.to(self.device)), attention)
        if attention and found.attention is None:
            raise CaptioningError(
                f"{type(self.decoder).__name__} has no attention to show. Use one with, such as "
                "decoder=show_attend_tell."
            )
        for place, source in enumerate(sources):
            numbers = found.tokens[place, 0].tolist()
            numbers = numbers[: numbers.index(END) + 1] if END in numbers else numbers
            tokens = [self.languages.targets.words[number] for number in numbers]
            weights = None
            if found.attention is not None:
                weights = found.attention[place, 0, : len(tokens), : len(source)].float().cpu().numpy()
            text = self.languages.segmenters[1].join([token for token in tokens if token != "<end>"])
            yield Translation(text, tokens, source, float(found.scores[place, 0]), weights)


def _make(config: Mapping[str, Any], languages: Languages) -> dict[str, nn.Module]:
    encoder = make_sentence_encoder(config, languages.sources)
    return {"encoder": encoder, "decoder": make_decoder(config, languages.targets, encoder.spec)}
