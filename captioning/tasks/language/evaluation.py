"""The loss of a text under a trained language model."""

import math
from dataclasses import replace

import numpy as np
import torch

from captioning.core.errors import CaptioningError
from captioning.core.features import Features
from captioning.core.progress import progress
from captioning.core.state import State
from captioning.core.vocabulary import CharacterVocabulary
from captioning.data import Text
from captioning.data.streams import TextData
from captioning.decoders import LanguageModel
from captioning.training.objectives import word_loss


@torch.no_grad()
def measure(decoder: LanguageModel, data: TextData) -> dict[str, float]:
    """The negative log-likelihood of a character of the text's validation part.

    Args:
        decoder: the model, in evaluation mode.
        data: the text, in the model's characters.

    Returns:
        ``loss`` in nats and ``bits`` in bits.
    """
    device = decoder.word_layer.weight.device
    total, count, state = 0.0, 0, State()
    for chunk in progress(data.val_dataloader(), "reading the text", unit="chunks"):
        chunk = chunk.to(device)
        if chunk.first:
            state = decoder.start(Features.none(len(chunk.places), device))
        outputs, state = decoder.teacher_force_from(state, chunk.words, chunk.packing)
        if not chunk.first:  # the first chunk is context only
            total += float(word_loss(decoder, outputs.hidden, chunk.targets)[0])
            count += len(chunk.targets)
    return {"loss": total / count, "bits": total / count / math.log(2)}


def in_characters_of(vocabulary: CharacterVocabulary, text: Text) -> Text:
    """A text converted to the character indices of a model.

    Raises:
        CaptioningError: the model does not know one of the characters.
    """
    if vocabulary.words == text.vocabulary.words:
        return text
    unknown = [character for character in text.vocabulary.words if character not in vocabulary.numbers]
    if unknown:
        raise CaptioningError(
            f"{text.path}: the model does not know {len(unknown)} of its characters "
            f"({', '.join(map(repr, unknown[:5]))}{', …' * (len(unknown) > 5)}). "
            "Measure it on a text of the characters that it was trained on."
        )
    numbers = np.array([vocabulary.numbers[character] for character in text.vocabulary.words])
    return replace(text, vocabulary=vocabulary, codes=numbers.astype(np.uint32)[text.codes])
