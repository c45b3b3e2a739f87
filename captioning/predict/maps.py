"""Attention weights as maps: the regions of the weights, and resampling between layouts.

Dimensions: L regions.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from captioning.core.features import Features, FeatureSpec
from captioning.core.images import ImageTransform

Place = tuple[str, FeatureSpec, str, ImageTransform]  # prefix and spec of an encoder, the attended part, transform


def attended_part(reads: Sequence[str], features: Features, regions: int) -> str | None:
    """The part of the features that attention weights belong to.

    Args:
        reads: the names of the parts that the decoder needs.
        features: the features of the images.
        regions: L, the number of weights.

    Returns:
        The first part with L regions; None if there is none.
    """
    fit = (part for part in reads if part in features and features[part].dim() == 3)
    return next((part for part in fit if features[part].shape[1] == regions), None)


def comparable(one: Place, other: Place) -> bool:
    """True if attention to two parts covers the same of an image: the same part, or maps of the same area."""
    (prefix, spec, part, transform), (other_prefix, other_spec, other_part, other_transform) = one, other
    if (prefix, part) == (other_prefix, other_part):
        return True
    maps = len(spec[part]) == len(other_spec[other_part]) == 3
    return maps and transform.area == other_transform.area


def resampling(layout: tuple[int, int], finer: tuple[int, int]) -> Tensor | None:
    """The matrix from weights of one layout to another, each region's weight spread evenly over the region's area.

    Args:
        layout: (rows, columns) of the weights.
        finer: (rows, columns) of the result.

    Returns:
        ``(rows · columns, finer rows · columns)``, whose rows sum to 1: ``weights @ matrix``; None for equal layouts.
    """
    if layout == finer:
        return None
    return torch.kron(_shares(layout[0], finer[0]), _shares(layout[1], finer[1]))


def _shares(cells: int, others: int) -> Tensor:
    """``(cells, others)``: the fraction of each equal cell of a line that lies in each of other cells of the line."""
    edges = torch.arange(cells + 1, dtype=torch.float64) / cells
    other_edges = torch.arange(others + 1, dtype=torch.float64) / others
    upper = torch.minimum(edges[1:, None], other_edges[None, 1:])
    lower = torch.maximum(edges[:-1, None], other_edges[None, :-1])
    return ((upper - lower).clamp_min(0) * cells).float()
