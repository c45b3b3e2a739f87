"""Scores of captions: plain strings in, coco-caption's numbers out, without Java."""

from captioning.metrics.references import DocumentFrequencies, References, score_captions
from captioning.metrics.scores import NAMES, Scores

__all__ = ["NAMES", "DocumentFrequencies", "References", "Scores", "score_captions"]
