"""Searches for captions: greedy search, sampling, beam search."""

from captioning.search.beam import Beam
from captioning.search.rollout import Greedy, Rollout, Sample
from captioning.search.search import Captions, ConditionalModel, Search

__all__ = ["Beam", "Captions", "ConditionalModel", "Greedy", "Rollout", "Sample", "Search"]
