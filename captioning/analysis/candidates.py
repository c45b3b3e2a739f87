"""The search for interpretable units: the units whose values follow a feature of the text more closely than chance.

Among the thousands of units of a network, one follows any feature a little. The largest correlation over all units is
therefore compared with the same maximum for shifted features. A shift moves the feature along the text, round its end,
far enough to remove any relation to the text (for captions, each by a random amount). Unlike a shuffle, a shift also
keeps the rate of change of the units and the feature, without which chance is underestimated. For a text that repeats
itself the comparison is not valid, because the text equals its shifts. The selected unit is then scored on other text,
where no selection takes place.

Dimensions: N sequences, M positions in total, U units, S shifts.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from captioning.analysis.recording import Unit

Array = NDArray[np.float32]

SHIFTS = 500
NEAR = 0.1  # the minimum shift in either direction, as a fraction of a sequence
BINS = 8  # bins of a unit's values and of a feature's values, for the mutual information


@dataclass(frozen=True)
class Part:
    """A part of the text that a network has read.

    Attributes:
        values: ``(M, U)``, the units' values.
        features: ``(M,)`` each, by name.
        lengths: the lengths of the N consecutive sequences.
    """

    values: Array
    features: Mapping[str, Array]
    lengths: Sequence[int]


@dataclass(frozen=True)
class Candidate:
    """The unit that follows a feature best.

    Attributes:
        feature: the feature's name.
        unit: the unit with the largest absolute correlation with the feature.
        found: the signed correlation on the text of the selection (for a binary feature, the point-biserial
            correlation).
        chance: the value that the largest absolute correlation of any unit exceeds in 1 % of the shifts of that text.
        held_out: the unit's correlation on text not used for the selection.
        held_out_chance: the value that this unit's absolute correlation exceeds in 1 % of the shifts of the held-out
            text.
        information: the mutual information of unit and feature on the held-out text, in bits.
        entropy: the entropy of the feature on the held-out text, in bits.
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
        """True if the correlation exceeds chance on both texts, with the same sign."""
        return abs(self.found) > self.chance and bool(np.sign(self.found) * self.held_out > self.held_out_chance)


def find_candidates(units: Sequence[Unit], part: Part, other: Part) -> list[Candidate]:
    """The best unit for each feature that varies in both parts, sorted by the score on the other part.

    Args:
        units: the U units.
        part: the part for the selection of units.
        other: the part for the scores of the units.
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
    """Pearson's correlation ``(U,)`` of each unit ``(M, U)`` with a feature ``(M,)``; 0 for a constant."""
    found: Array = _standard(values).T @ _standard(feature) / np.float32(len(feature))
    return found


def maxima_by_chance(values: Array, feature: Array, lengths: Sequence[int]) -> Array:
    """The largest absolute correlation of any unit with the shifted feature, for each of ``SHIFTS`` shifts.

    Args:
        values: ``(M, U)``, the units' values.
        feature: ``(M,)``, the feature's values.
        lengths: the lengths of the N sequences.

    Returns:
        ``(S,)``, the maximum for each shift.
    """
    rng = np.random.default_rng(0)
    shifted = np.stack([_shifted(feature, lengths, rng) for _ in range(SHIFTS)])  # (S, M)
    found: Array = np.abs(_standard(shifted.T).T @ _standard(values)).max(1) / np.float32(len(feature))
    return found


def _shifted(feature: Array, lengths: Sequence[int], rng: np.random.Generator) -> Array:
    """A feature in which each sequence's part is shifted round its end, by a separate amount."""
    ends = np.cumsum(lengths)
    parts = np.split(feature, ends[:-1])
    return np.concatenate(
        [np.roll(part, rng.integers(_near(len(part)), len(part) - _near(len(part)) + 1)) for part in parts]
    )


def _near(length: int) -> int:
    return min(max(1, round(NEAR * length)), length // 2)


def mutual_information(left: Array, right: Array) -> float:
    """The mutual information of two variables ``(M,)`` in bits, each in at most ``BINS`` equally frequent bins.

    The estimate from counts is too large by about ``(a - 1)(b - 1) / 2M`` nats for a and b bins, and this bias is
    subtracted (Miller 1955).
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
    """The number of each value's bin; equal values share a bin."""
    if len(there := np.unique(values)) > BINS:
        there = np.unique(np.quantile(values, np.arange(BINS) / BINS))
    return np.searchsorted(there, values, side="right") - 1


def _standard(values: Array) -> Array:
    """The values scaled to mean 0 and variance 1 along the text; 0 for constant values."""
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
