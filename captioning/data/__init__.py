"""Readers of common data files: captioned photographs, all in the form of ``photos``, and plain text."""

from captioning.data.coco import read_coco
from captioning.data.coco_archives import prepare_coco
from captioning.data.flickr8k import read_flickr8k
from captioning.data.karpathy import read_karpathy
from captioning.data.multi30k import read_multi30k
from captioning.data.own import read_own
from captioning.data.photos import Box, CaptionedPhotos, Photo
from captioning.data.scenes import read_scenes
from captioning.data.text import Text, read_characters

__all__ = [
    "Box",
    "CaptionedPhotos",
    "Photo",
    "Text",
    "prepare_coco",
    "read_characters",
    "read_coco",
    "read_flickr8k",
    "read_karpathy",
    "read_multi30k",
    "read_own",
    "read_scenes",
]
