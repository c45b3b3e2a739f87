"""From a decoder's probabilities to captions: greedy, sampling, beam."""

from captioning.search.beam import Beam
from captioning.search.rollout import Greedy, Rollout, Sample
from captioning.search.search import Captions, Search

__all__ = ["Beam", "Captions", "Greedy", "Rollout", "Sample", "Search"]
