"""Captioning: from a photograph to a sentence."""

from captioning.tasks.captioning.task import CaptioningTask

__all__ = ["CaptioningTask"]
