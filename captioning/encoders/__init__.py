"""Encoders from images to features, one family per file."""

from captioning.encoders.encoder import Encoder

__all__ = ["Encoder"]
