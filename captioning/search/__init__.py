"""Searches for captions: greedy search, sampling, beam search, diverse and constrained beam search, consensus."""

from captioning.search.beam import Beam
from captioning.search.consensus import Consensus
from captioning.search.constrained_beam import ConstrainedBeam, constrained
from captioning.search.diverse_beam import DiverseBeam
from captioning.search.rollout import Greedy, Rollout, Sample
from captioning.search.search import Captions, ConditionalModel, Search

__all__ = [
    "Beam",
    "Captions",
    "ConditionalModel",
    "Consensus",
    "ConstrainedBeam",
    "DiverseBeam",
    "Greedy",
    "Rollout",
    "Sample",
    "Search",
    "constrained",
]
