"""Text from Python: ``Writer.load("runs/char_rnn").write("KING:", length=200)``."""

import os
from collections.abc import Collection, Iterator, Mapping
from itertools import islice
from operator import attrgetter
from typing import Any

from torch import nn

from captioning.core.errors import CaptioningError
from captioning.core.features import NO_FEATURES
from captioning.core.vocabulary import CharacterVocabulary
from captioning.decoders import LanguageModel
from captioning.predict.loading import load
from captioning.runs.parts import make_decoder
from captioning.search import Rollout, Sample
from captioning.search.writing import write


class Writer:
    """A trained language model of characters with its vocabulary."""

    def __init__(self, decoder: LanguageModel, vocabulary: CharacterVocabulary, config: Mapping[str, Any]) -> None:
        """Take the parts, and put the model in evaluation mode."""
        self.decoder = decoder.eval()
        self.vocabulary, self.config = vocabulary, config

    @classmethod
    def load(cls, path: str | os.PathLike[str], device: str = "cpu", trust: Collection[str] = ()) -> "Writer":
        """Read a checkpoint, also a stranger's: no code that the checkpoint holds or names is run (docs/security.md).

        Args:
            path: a ``.ckpt`` file, or a run's folder (its best checkpoint).
            device: the device; one character at a time is fastest on the CPU.
            trust: modules or classes outside of this package that the checkpoint may name; ``load`` imports them.

        Raises:
            CaptioningError: the checkpoint does not exist, is a captioner's, names a class that is not trusted, or does
                not fit this version of the code.
        """
        trained = load(path, device, trust, attrgetter("characters"), _make)
        return cls(trained.parts["decoder"], trained.vocabulary, trained.config)

    def write(self, prime: str = "", length: int = 1000, search: Rollout | None = None) -> str:
        """A text that continues ``prime``, without ``prime`` itself."""
        return "".join(islice(self.stream(prime, search), length))

    def stream(self, prime: str = "", search: Rollout | None = None) -> Iterator[str]:
        """The characters of an endless text, one after the other.

        Args:
            prime: the text to continue; if empty, a line's end, or else the vocabulary's first character.
            search: the choice of the next character; None draws it by the model's probabilities.

        Raises:
            CaptioningError: the vocabulary lacks a character of ``prime``; the message names it.
        """
        numbers = self.vocabulary.encode(prime) or [self.vocabulary.numbers.get("\n", 0)]
        device = next(self.decoder.parameters()).device
        return map(self.vocabulary.words.__getitem__, write(self.decoder, numbers, search or Sample(), device))


def _make(config: Mapping[str, Any], vocabulary: CharacterVocabulary) -> dict[str, nn.Module]:
    decoder = make_decoder(config, vocabulary, NO_FEATURES)
    if not isinstance(decoder, LanguageModel):
        raise CaptioningError(f"{type(decoder).__name__} is not a language model.")
    return {"decoder": decoder}
