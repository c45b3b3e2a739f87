"""Events of moving scenes: how often a caption says the one that happens.

Dimensions: N clips, K kinds.
"""

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np

from captioning.core.errors import CaptioningError
from captioning.core.measure import Measure
from captioning.metrics.metric import Metric, Pairs
from captioning.metrics.ngrams import Floats

Phrases = Mapping[str, Sequence[str]]  # of each event of a kind, the phrases that say it

COLOURS = ("red", "yellow", "green", "blue", "purple")
ORDER: dict[str, Phrases] = {
    "sideways": {"left": ("left",), "right": ("right",)},
    "vertical": {"falls": ("falls", "drops"), "rises": ("rises", "up")},
    "appearance": {"appears": ("appears", "into view"), "disappears": ("disappears", "out of view")},
    "colour": {colour: (f"to {colour}", f"becomes {colour}") for colour in COLOURS},
    "encounter": {"comes": ("comes to", "towards", "comes near"), "leaves": ("away", "leaves")},
}
MOTION: dict[str, Phrases] = {
    "still": {"still": ("lies still", "does not move", "stays")},
    "passes": {"passes": ("past", "passes")},
    "circles": {"circles": ("circle", "round")},
    "jumps": {"jumps": ("jumps", "jump")},
}
FAMILIES: dict[str, dict[str, Phrases]] = {"order": ORDER, "motion": MOTION}


class Events(Metric):
    """The share of captions that say the event of the references, and no other event of its kind.

    The references tell a clip's kind. Clips of other families do not count.
    """

    def __init__(self, name: Literal["order", "motion"] = "order") -> None:
        """Take the family of events.

        Args:
            name: ``order`` for events whose frames, in the opposite order, show another event of the same kind;
                ``motion`` for events that several frames show in any order.

        Raises:
            CaptioningError: there is no such family.
        """
        if name not in FAMILIES:
            raise CaptioningError(f"metrics: {name} is no family of events. Take one of {', '.join(FAMILIES)}.")
        self.name, self.kinds = name, FAMILIES[name]

    @property
    def measures(self) -> tuple[Measure, ...]:
        """The share of all clips of the family; in evaluation also of each kind, 0 for a kind without clips."""
        of_kinds = (Measure(kind, higher_is_better=True, scale=100.0, validated=False) for kind in self.kinds)
        return (Measure(self.name, higher_is_better=True, scale=100.0), *of_kinds)

    def statistics(self, pairs: Pairs) -> Floats:
        """``(N, 2 K)``: for each kind whether the caption is right, and whether the clip is of the kind."""
        right = np.zeros((len(pairs), len(self.kinds)))
        of_kind = np.zeros_like(right)
        for clip, (said, references) in enumerate(zip(pairs.candidate_tokens, pairs.reference_tokens, strict=True)):
            for place, phrases in enumerate(self.kinds.values()):
                true = set().union(*(_events(tokens, phrases) for tokens in references))
                of_kind[clip, place] = len(true) == 1
                right[clip, place] = len(true) == 1 and _events(said, phrases) == true
        return np.concatenate([right, of_kind], axis=1)

    def score(self, sums: Floats, images: Floats) -> Floats:
        """``(…, 1 + K)``: the share of the family, and of each kind."""
        right, counts = np.split(sums, 2, axis=-1)
        every = right.sum(-1, keepdims=True) / np.maximum(counts.sum(-1, keepdims=True), 1)
        return np.concatenate([every, right / np.maximum(counts, 1)], axis=-1)


def _events(tokens: Sequence[str], phrases: Phrases) -> set[str]:
    text = f" {' '.join(tokens)} "
    return {event for event, ways in phrases.items() if any(f" {way} " in text for way in ways)}
