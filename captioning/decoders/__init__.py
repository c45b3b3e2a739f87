"""Captioners: one file each."""

from captioning.decoders.decoder import Decoder, Reading
from captioning.decoders.language_model import LanguageModel
from captioning.decoders.lrcn import LRCN
from captioning.decoders.mrnn import MRNN
from captioning.decoders.neuraltalk import NeuralTalk
from captioning.decoders.show_attend_tell import ShowAttendTell
from captioning.decoders.show_tell import ShowTell
from captioning.decoders.visual_memory import VisualMemory

__all__ = [
    "LRCN",
    "MRNN",
    "Decoder",
    "LanguageModel",
    "NeuralTalk",
    "Reading",
    "ShowAttendTell",
    "ShowTell",
    "VisualMemory",
]
