"""Readers of data files: captioned photographs, questions about them, reviews, parallel text, and plain text."""

from captioning.data.coco import read_coco
from captioning.data.coco_archives import prepare_coco
from captioning.data.coco_qa import read_coco_qa
from captioning.data.daquar import read_daquar
from captioning.data.flickr8k import read_flickr8k
from captioning.data.karpathy import read_karpathy
from captioning.data.movie_reviews import read_movie_reviews
from captioning.data.moving_scenes import read_moving_scenes
from captioning.data.msr_vtt import read_msr_vtt
from captioning.data.msvd import read_msvd
from captioning.data.multi30k import read_multi30k
from captioning.data.own import read_own
from captioning.data.own_questions import read_own_questions
from captioning.data.parallel import ParallelText, read_multi30k_translation, read_own_translation
from captioning.data.photos import Box, CaptionedPhotos, Photo
from captioning.data.question_archives import prepare_coco_qa, prepare_vqa2
from captioning.data.questions import Question, QuestionSet
from captioning.data.scenes import read_scenes
from captioning.data.scenes.questions import read_scene_questions
from captioning.data.several import read_several
from captioning.data.text import Text, read_characters
from captioning.data.vqa import read_vqa

__all__ = [
    "Box",
    "CaptionedPhotos",
    "ParallelText",
    "Photo",
    "Question",
    "QuestionSet",
    "Text",
    "prepare_coco",
    "prepare_coco_qa",
    "prepare_vqa2",
    "read_characters",
    "read_coco",
    "read_coco_qa",
    "read_daquar",
    "read_flickr8k",
    "read_karpathy",
    "read_movie_reviews",
    "read_moving_scenes",
    "read_msr_vtt",
    "read_msvd",
    "read_multi30k",
    "read_multi30k_translation",
    "read_own",
    "read_own_questions",
    "read_own_translation",
    "read_scene_questions",
    "read_scenes",
    "read_several",
    "read_vqa",
]
