"""Objectives of training, one per file."""

from captioning.training.objectives.cross_entropy import CrossEntropy
from captioning.training.objectives.objective import Objective, Words
from captioning.training.objectives.self_critical import SelfCritical
from captioning.training.objectives.word_loss import word_loss

__all__ = ["CrossEntropy", "Objective", "SelfCritical", "Words", "word_loss"]
