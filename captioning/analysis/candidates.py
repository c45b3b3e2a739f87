"""Finding units that mean something without looking: which unit follows a feature of the text, and by more than chance.

A network has thousands of units, so that one of them will follow anything a little. What the best of all units reaches
is therefore compared with what the best of all units reaches when the feature is shifted along the text, round its end,
by so much that the two have nothing to do with one another (of captions, each by as much as chance will have it). A
shuffled text would do, but a shift also keeps how slowly units and feature change, without which chance is underrated.
A text that repeats itself is like its shifts: of it nothing can be said. The unit that is found is then scored on other
text, where there was nothing to choose.

Dimensions: N sequences, M positions in all, U units, S shifts.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from captioning.analysis.recording import Unit

Array = NDArray[np.float32]

SHIFTS = 500
NEAR = 0.1  # of a sequence: it is shifted by that much at least, either way
BINS = 8  # of a unit's values and of a feature's, for the mutual information


@dataclass(frozen=True)
class Part:
    """A part of what was read.

    Attributes:
        values: ``(M, U)``, what the units did.
        features: ``(M,)`` each, by name.
        lengths: of its N sequences, one behind the other.
    """

    values: Array
    features: Mapping[str, Array]
    lengths: Sequence[int]


@dataclass(frozen=True)
class Candidate:
    """The unit that follows a feature best.

    Attributes:
        feature: its name.
        unit: the unit with the largest absolute correlation with the feature.
        found: that correlation, with its sign, on the text in which it was found (of a feature that is there or not,
            the point-biserial one).
        chance: what the largest absolute correlation of any unit exceeds in 1 % of the shifts of that text.
        held_out: the unit's correlation on text that was not used to find it.
        held_out_chance: what this unit's own absolute correlation exceeds there in 1 % of the shifts.
        information: what the unit tells of the feature there, in bits.
        entropy: how much there is to tell, in bits.
    """

    feature: str
    unit: Unit
    found: float
    chance: float
    held_out: float
    held_out_chance: float
    information: float
    entropy: float

    @property
    def convincing(self) -> bool:
        """Beyond chance where it was found and, with the same sign, where it was not."""
        return abs(self.found) > self.chance and bool(np.sign(self.found) * self.held_out > self.held_out_chance)


def find_candidates(units: Sequence[Unit], part: Part, other: Part) -> list[Candidate]:
    """The best unit for each feature that varies in both parts, the best on the other part first.

    Args:
        units: the U units.
        part: to find units in.
        other: to score them on.
    """
    found = []
    for name in (name for name in part.features if name in other.features):
        feature, theirs = part.features[name], other.features[name]
        scores = correlations(part.values, feature)
        best = int(np.abs(scores).argmax())
        unit = other.values[:, [best]]
        found.append(
            Candidate(
                feature=name,
                unit=units[best],
                found=float(scores[best]),
                chance=float(np.quantile(maxima_by_chance(part.values, feature, part.lengths), 0.99)),
                held_out=float(correlations(unit, theirs)[0]),
                held_out_chance=float(np.quantile(maxima_by_chance(unit, theirs, other.lengths), 0.99)),
                information=mutual_information(unit[:, 0], theirs),
                entropy=entropy(theirs),
            )
        )
    return sorted(found, key=lambda candidate: -abs(candidate.held_out))


def correlations(values: Array, feature: Array) -> Array:
    """Pearson's correlation of each unit ``(M, U)`` with a feature ``(M,)``: ``(U,)``; 0 for what does not vary."""
    found: Array = _standard(values).T @ _standard(feature) / np.float32(len(feature))
    return found


def maxima_by_chance(values: Array, feature: Array, lengths: Sequence[int]) -> Array:
    """The largest absolute correlation of any unit with the feature shifted, ``SHIFTS`` times.

    Args:
        values: ``(M, U)``.
        feature: ``(M,)``.
        lengths: of the N sequences.

    Returns:
        ``(S,)``.
    """
    rng = np.random.default_rng(0)
    shifted = np.stack([_shifted(feature, lengths, rng) for _ in range(SHIFTS)])  # (S, M)
    found: Array = np.abs(_standard(shifted.T).T @ _standard(values)).max(1) / np.float32(len(feature))
    return found


def _shifted(feature: Array, lengths: Sequence[int], rng: np.random.Generator) -> Array:
    """Each sequence's part of a feature shifted round its end, by an amount of its own."""
    ends = np.cumsum(lengths)
    parts = np.split(feature, ends[:-1])
    return np.concatenate(
        [np.roll(part, rng.integers(_near(len(part)), len(part) - _near(len(part)) + 1)) for part in parts]
    )


def _near(length: int) -> int:
    return min(max(1, round(NEAR * length)), length // 2)


def mutual_information(left: Array, right: Array) -> float:
    """What one of two variables ``(M,)`` tells of the other, in bits, each in ``BINS`` equally frequent bins at most.

    The estimate from counts is too large by about ``(a - 1)(b - 1) / 2M`` nats for a and b bins, which is taken off
    (Miller 1955).
    """
    a, b = _binned(left), _binned(right)
    joint = np.zeros((a.max() + 1, b.max() + 1))
    np.add.at(joint, (a, b), 1)
    p = joint / joint.sum()
    independent = p.sum(1, keepdims=True) * p.sum(0, keepdims=True)
    there = p > 0
    nats = (p[there] * np.log(p[there] / independent[there])).sum()
    bias = (joint.shape[0] - 1) * (joint.shape[1] - 1) / (2 * len(left))
    return float(max(0.0, nats - bias) / np.log(2))


def entropy(values: Array) -> float:
    """The entropy of a variable ``(M,)``, in bits, in the bins of ``mutual_information``."""
    p = np.bincount(_binned(values)) / len(values)
    return float(-(p[p > 0] * np.log2(p[p > 0])).sum())


def _binned(values: Array) -> NDArray[np.intp]:
    """The number of each value's bin; equal values share one."""
    if len(there := np.unique(values)) > BINS:
        there = np.unique(np.quantile(values, np.arange(BINS) / BINS))
    return np.searchsorted(there, values, side="right") - 1


def _standard(values: Array) -> Array:
    """Mean 0 and variance 1 along the text; 0 where nothing varies."""
    centred = values - values.mean(0, dtype=np.float64).astype(np.float32)
    spread = centred.std(0, dtype=np.float64)
    scaled: Array = (centred / np.where(spread > 1e-7, spread, np.inf)).astype(np.float32)
    return scaled


def as_table(candidates: Sequence[Candidate]) -> str:
    """The candidates as a table for a terminal."""
    head = f"{'feature':18} {'unit':32} {'r':>6} {'chance':>6}   {'held out':>8} {'chance':>6}   {'bits':>11}"
    rows = [
        f"{one.feature:18} {one.unit!s:32} {one.found:6.2f} {one.chance:6.2f}   "
        f"{one.held_out:8.2f} {one.held_out_chance:6.2f}   {one.information:4.2f} of {one.entropy:4.2f}"
        f"{'' if one.convincing else '   not beyond chance'}"
        for one in candidates
    ]
    return "\n".join([head, *rows])
