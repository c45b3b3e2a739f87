"""Captioning: a photograph in, a sentence out."""

from captioning.tasks.captioning.task import CaptioningTask

__all__ = ["CaptioningTask"]
