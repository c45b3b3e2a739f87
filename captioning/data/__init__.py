"""Captioned photographs: readers for the files that people have, all giving the one form in ``photos``."""

from captioning.data.coco import read_coco
from captioning.data.coco_archives import prepare_coco
from captioning.data.flickr8k import read_flickr8k
from captioning.data.karpathy import read_karpathy
from captioning.data.own import read_own
from captioning.data.photos import Box, CaptionedPhotos, Photo
from captioning.data.scenes import read_scenes

__all__ = [
    "Box",
    "CaptionedPhotos",
    "Photo",
    "prepare_coco",
    "read_coco",
    "read_flickr8k",
    "read_karpathy",
    "read_own",
    "read_scenes",
]
