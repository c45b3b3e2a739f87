"""Scores that can't vary: of few images, CIDEr is 0 whatever is said, and such a number is no measurement."""

from collections.abc import Iterable, Mapping

from captioning.metrics.meteor import Meteor
from captioning.metrics.metric import Metric, Pairs
from captioning.metrics.references import References
from captioning.metrics.scores import Scores
from captioning.metrics.spice import Spice

FEW = 100  # images up to which a score that can't vary is looked for


def constant(metrics: Iterable[Metric], references: References) -> dict[str, float]:
    """The measures that have the same value of right and of empty captions, by name.

    Args:
        metrics: the metrics; METEOR and SPICE, which ask other programs, are left out.
        references: the references of the images.
    """
    own = [metric for metric in metrics if not isinstance(metric, Meteor | Spice)]
    if not own or not 0 < len(references) <= FEW:
        return {}
    right = [captions[0] for captions in references.texts]
    best, least = (Scores.of(own, Pairs(references, each)).corpus() for each in (right, [""] * len(right)))
    return {name: value for name, value in best.items() if value == least[name]}


def say_constant(found: Mapping[str, float], images: int) -> str:
    """The sentence on such measures; empty if there is none."""
    if not found:
        return ""
    names = " and ".join(found)
    of = "this one image" if images == 1 else f"these {images} images"
    return f"{names}: no measurement, for the value is the same whatever is said of {of}. Take more images."
