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
    """A language model of characters, trained, with its vocabulary."""

    def __init__(self, decoder: LanguageModel, vocabulary: CharacterVocabulary, config: Mapping[str, Any]) -> None:
        """Take the parts; the model is put in evaluation mode."""
        self.decoder = decoder.eval()
        self.vocabulary, self.config = vocabulary, config

    @classmethod
    def load(cls, path: str | os.PathLike[str], device: str = "cpu", trust: Collection[str] = ()) -> "Writer":
        """Read a checkpoint; it may be a stranger's, for nothing that it holds or names is run (docs/security.md).

        Args:
            path: a ``.ckpt`` file, or a run's folder (its best checkpoint).
            device: where to run; one character at a time is fastest on the CPU.
            trust: modules or classes outside of this package that it may name: these are imported.

        Raises:
            CaptioningError: there is no such checkpoint, it is of a captioner, it names a class that is not trusted, or
                it does not fit this version of the code.
        """
        trained = load(path, device, trust, attrgetter("characters"), _make)
        return cls(trained.parts["decoder"], trained.vocabulary, trained.config)

    def write(self, prime: str = "", length: int = 1000, search: Rollout | None = None) -> str:
        """A text that goes on from ``prime``, without it."""
        return "".join(islice(self.stream(prime, search), length))

    def stream(self, prime: str = "", search: Rollout | None = None) -> Iterator[str]:
        """Character after character, without end.

        Args:
            prime: the text to go on with; where it is empty, a line's end, or else the vocabulary's first character.
            search: how the next character is chosen; drawn as likely as the model takes it to be where not given.

        Raises:
            CaptioningError: the model does not know a character of ``prime``; it is named.
        """
        numbers = self.vocabulary.encode(prime) or [self.vocabulary.numbers.get("\n", 0)]
        device = next(self.decoder.parameters()).device
        return map(self.vocabulary.words.__getitem__, write(self.decoder, numbers, search or Sample(), device))


def _make(config: Mapping[str, Any], vocabulary: CharacterVocabulary) -> dict[str, nn.Module]:
    decoder = make_decoder(config, vocabulary, NO_FEATURES)
    if not isinstance(decoder, LanguageModel):
        raise CaptioningError(f"{type(decoder).__name__} is not a language model.")
    return {"decoder": decoder}
