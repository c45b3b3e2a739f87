"""From a decoder's probabilities to captions: greedy, sampling, beam."""

from captioning.search.base import Captions, Search
from captioning.search.beam import Beam
from captioning.search.rollout import Greedy, Rollout, Sample

__all__ = ["Beam", "Captions", "Greedy", "Rollout", "Sample", "Search"]
