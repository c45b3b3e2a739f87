"""The regions of an image that a decoder attends to.

Dimensions: B images, L regions, D numbers of a region.
"""

from torch import Tensor

from captioning.core.errors import CaptioningError
from captioning.core.features import Features, FeatureSpec


def region_size(features: FeatureSpec, attends: str) -> int:
    """D of the part of the features that a decoder attends to.

    Raises:
        CaptioningError: the encoder has no such part, or the part has no regions.
    """
    if len(features[attends]) < 2:
        raise CaptioningError(f"decoder.attends={attends}: this part is a single vector. Take a part with regions.")
    return features.size(attends)


def find_regions(features: Features, attends: str) -> tuple[Tensor, dict[str, Tensor]]:
    """The regions, and their mask for ``State.image``.

    Args:
        features: the features of B images.
        attends: the name of the part.

    Returns:
        ``(B, L, D)``, zero in the places beyond an image's regions, which may hold anything, also nan; and ``there``,
        ``(B, L)``, True for the regions that an image has, or nothing if every image has all L.
    """
    grid, there = features[attends], features.mask(attends)
    if there is None:
        return grid, {}
    return grid.masked_fill(~there.unsqueeze(-1), 0.0), {"there": there}
