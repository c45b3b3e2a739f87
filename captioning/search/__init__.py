"""Searches for captions: greedy, sampling, beam search, diverse and constrained, consensus, neighbours."""

from captioning.search.beam import Beam
from captioning.search.consensus import Consensus
from captioning.search.constrained_beam import ConstrainedBeam, constrained
from captioning.search.diverse_beam import DiverseBeam
from captioning.search.memory import Memory
from captioning.search.neighbours import Neighbours
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
    "Memory",
    "Neighbours",
    "Rollout",
    "Sample",
    "Search",
    "constrained",
]
