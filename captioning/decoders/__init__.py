"""Captioners: one file each."""

from captioning.decoders.base import Decoder, Reading
from captioning.decoders.neuraltalk import NeuralTalk

__all__ = ["Decoder", "NeuralTalk", "Reading"]
