"""Metrics of captions, from strings to coco-caption's numbers without Java, and of answers to questions.

``score_captions(candidates, references)`` gives the scores of a corpus. ``Scorer(metrics, references)`` scores many
sets of candidates against the same references, by any metrics; its ``Scores`` give corpus scores, per-image scores, and
scores of resampled corpora. ``Metric`` is the base class of custom metrics. ``CiderD`` scores any captions, also
several of an image; ``CiderReward`` is the reward of self-critical training.
"""

from captioning.metrics.answers import Accuracy, AccuracyByKind, AnswerPairs, VqaAccuracy, Wups
from captioning.metrics.bleu import Bleu
from captioning.metrics.cider import Cider, CiderD
from captioning.metrics.events import Events
from captioning.metrics.frequencies import DocumentFrequencies
from captioning.metrics.meteor import Meteor
from captioning.metrics.metric import Metric, Pairs, UnavailableError, measures_of
from captioning.metrics.references import References
from captioning.metrics.reward import CiderReward
from captioning.metrics.rouge import RougeL
from captioning.metrics.scores import Scorer, Scores, build_metrics, coco_metrics, installed_metrics, score_captions
from captioning.metrics.spice import Spice
from captioning.metrics.translation import ChrF, SacreBleu

__all__ = [
    "Accuracy",
    "AccuracyByKind",
    "AnswerPairs",
    "Bleu",
    "ChrF",
    "Cider",
    "CiderD",
    "CiderReward",
    "DocumentFrequencies",
    "Events",
    "Meteor",
    "Metric",
    "Pairs",
    "References",
    "RougeL",
    "SacreBleu",
    "Scorer",
    "Scores",
    "Spice",
    "UnavailableError",
    "VqaAccuracy",
    "Wups",
    "build_metrics",
    "coco_metrics",
    "installed_metrics",
    "measures_of",
    "score_captions",
]
