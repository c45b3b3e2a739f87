"""Labelling: from a clip to a label for each frame."""

from captioning.tasks.labelling.task import LabellingTask

__all__ = ["LabellingTask"]
