"""Encoders: photographs to features, one family a file."""

from captioning.encoders.base import Encoder

__all__ = ["Encoder"]
