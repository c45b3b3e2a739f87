"""Captioners: one file each."""

from captioning.decoders.base import Decoder, Reading
from captioning.decoders.neuraltalk import NeuralTalk
from captioning.decoders.show_attend_tell import ShowAttendTell

__all__ = ["Decoder", "NeuralTalk", "Reading", "ShowAttendTell"]
