"""Decoders, one captioner per file, and their base classes."""

from captioning.decoders.adaptive import Adaptive
from captioning.decoders.attend_states import AttendStates
from captioning.decoders.attention_on_attention import AttentionOnAttention
from captioning.decoders.decoder import Decoder, Outputs
from captioning.decoders.language_model import LanguageModel
from captioning.decoders.lrcn import LRCN
from captioning.decoders.mrnn import MRNN
from captioning.decoders.neuraltalk import NeuralTalk
from captioning.decoders.recurrent import RecurrentDecoder
from captioning.decoders.s2vt import S2VT
from captioning.decoders.sequence_to_sequence import SequenceToSequence
from captioning.decoders.show_attend_tell import ShowAttendTell
from captioning.decoders.show_tell import ShowTell
from captioning.decoders.transformer import Transformer
from captioning.decoders.up_down import UpDown
from captioning.decoders.visual_memory import VisualMemory

__all__ = [
    "LRCN",
    "MRNN",
    "S2VT",
    "Adaptive",
    "AttendStates",
    "AttentionOnAttention",
    "Decoder",
    "LanguageModel",
    "NeuralTalk",
    "Outputs",
    "RecurrentDecoder",
    "SequenceToSequence",
    "ShowAttendTell",
    "ShowTell",
    "Transformer",
    "UpDown",
    "VisualMemory",
]
