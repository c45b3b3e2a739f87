"""The Lightning module of translation: captioning's, with an encoder of sentences."""

from collections.abc import Sequence
from typing import Any

from captioning.core.features import Features
from captioning.data.batches import Batch
from captioning.data.sentence_batches import SentenceBatch
from captioning.encoders.sentence import SentenceEncoder
from captioning.tasks.captioning.module import CaptioningModule
from captioning.text.segmenters import Segmenter
from captioning.training.module import TrainingModule


class TranslationModule(CaptioningModule):
    """The training of an encoder and a decoder together, validated by the translations of whole splits."""

    def __init__(self, encoder: SentenceEncoder, *parts: Any, segmenter: Segmenter, **common: Any) -> None:
        """Take the parts.

        Args:
            encoder: the model from sentences to features.
            parts: decoder, vocabulary, search and objective, see ``CaptioningModule``.
            segmenter: the tokens of the language to translate to.
            common: the further arguments of ``CaptioningModule``.
        """
        super().__init__(encoder, *parts, **common)
        self.segmenter = segmenter

    def features_of(self, batch: Batch) -> Features:
        """The features of a batch's sentences."""
        assert isinstance(batch, SentenceBatch)
        features: Features = self.encoder(batch.sources)
        return features

    def text_of(self, caption: Sequence[int]) -> str:
        """The sentence of a translation's numbers."""
        return self.segmenter.join(self.vocabulary.decode(caption).split(" "))

    def trained_groups(self) -> list[dict[str, Any]]:
        """One group of all parameters: the encoder begins untrained, as the decoder does."""
        return TrainingModule.trained_groups(self)
