"""Captioned photographs: readers for the files that people have, all giving the one form in ``photos``."""

from captioning.data.coco import read_coco
from captioning.data.photos import Box, CaptionedPhotos, Photo
from captioning.data.scenes import read_scenes

__all__ = ["Box", "CaptionedPhotos", "Photo", "read_coco", "read_scenes"]
