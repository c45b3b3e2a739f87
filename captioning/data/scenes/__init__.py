"""The embedded sample: pictures drawn by code from a seed, in COCO's file formats."""

from captioning.data.scenes.reader import read_scenes

__all__ = ["read_scenes"]
