"""Encoders: photographs to features, one family a file."""

from captioning.encoders.encoder import Encoder

__all__ = ["Encoder"]
