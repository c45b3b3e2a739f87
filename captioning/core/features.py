"""The features of a batch of images: named parts.

Dimensions: B images, L regions, D numbers of a region, P pooled features.
"""

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from math import prod
from typing import Any, Self

import torch
from torch import Tensor

from captioning.core.errors import CaptioningError
from captioning.core.moving import Movable


class FeatureSpec(Mapping[str, tuple[int, ...]]):
    """The shapes of an encoder's features, by the parts' names; a decoder is built for them.

    ``(P,)`` is one vector per image, ``(L, D)`` one vector for each of L regions, and ``(rows, columns, D)`` one vector
    for each region of a map; ``Features`` hold the regions of a map in row-major order, L = rows · columns.

    Attributes:
        varying: the parts whose number of regions differs between images, 1 to L.
    """

    def __init__(self, varying: Collection[str] = (), /, **shapes: tuple[int, ...]) -> None:
        """Take the shapes.

        ``FeatureSpec(pooled=(1280,), grid=(7, 7, 1280))``; ``FeatureSpec(["objects"], objects=(36, 2048))``.

        Args:
            varying: names of parts ``(L, D)``, see the class.
            shapes: the shapes of the parts.

        Raises:
            CaptioningError: a shape has no sizes or more than three, a size is not positive, or a varying part is
                missing or not ``(L, D)``.
        """
        self.varying, self._shapes = frozenset(varying), {part: tuple(shape) for part, shape in shapes.items()}
        for part, shape in self._shapes.items():
            if not 1 <= len(shape) <= 3 or min(shape) < 1:
                raise CaptioningError(
                    f"The part {part!r} of an encoder's features has the shape {shape}. A part is (P,), (L, D) or "
                    "(rows, columns, D), all positive."
                )
        for part in self.varying:
            if len(self._shapes.get(part, ())) != 2:
                raise CaptioningError(
                    f"The part {part!r} of an encoder's features has a different number of regions in each photograph, "
                    f"and its shape is {self._shapes.get(part)}. Give it the shape (L, D), L regions at the most."
                )

    def __getitem__(self, part: str) -> tuple[int, ...]:
        """The shape of a part.

        Raises:
            CaptioningError: the encoder has no such part.
        """
        if part not in self._shapes:
            there = ", ".join(self._shapes) or "none"
            raise CaptioningError(
                f"The decoder reads the part {part!r} of an encoder's features, and this encoder has {there}. "
                "Choose another encoder=… or decoder=…"
            )
        return self._shapes[part]

    def __iter__(self) -> Iterator[str]:
        """The parts' names."""
        return iter(self._shapes)

    def __len__(self) -> int:
        """The number of parts."""
        return len(self._shapes)

    def __contains__(self, part: object) -> bool:
        """True if the encoder has a part."""
        return part in self._shapes

    def __eq__(self, other: object) -> bool:
        """True if the parts, their shapes and the varying parts are equal."""
        return isinstance(other, FeatureSpec) and (self.varying, self._shapes) == (other.varying, other._shapes)

    def __hash__(self) -> int:
        """A hash, equal for equal specs."""
        return hash((self.varying, frozenset(self._shapes.items())))

    def __repr__(self) -> str:
        """The expression that makes an equal spec."""
        varying = [repr(sorted(self.varying))] if self.varying else []
        return f"FeatureSpec({', '.join([*varying, *(f'{part}={shape}' for part, shape in self._shapes.items())])})"

    def size(self, part: str) -> int:
        """The length of a part's vectors: P of a single vector, D of regions."""
        return self[part][-1]

    def regions(self, part: str) -> int:
        """L, the largest number of a part's regions; 1 for a single vector."""
        return prod(self[part][:-1])

    def layout(self, part: str) -> tuple[int, int]:
        """(rows, columns) of a part's regions; (1, L) if the part is no map."""
        shape = self[part]
        return (shape[0], shape[1]) if len(shape) == 3 else (1, self.regions(part))

    def stored(self, part: str) -> tuple[int, ...]:
        """The shape of a part in ``Features``, without B: ``(P,)`` or ``(L, D)``."""
        return (self.size(part),) if len(self[part]) == 1 else (self.regions(part), self.size(part))

    def to_json(self) -> Any:
        """JSON values that identify the spec; for one vector and one map in the form of earlier versions."""
        if self._shapes.keys() == {"pooled", "grid"} and len(self["grid"]) == 3 and not self.varying:
            return [self.size("pooled"), self.size("grid"), *self.layout("grid")]
        return {part: [*shape, *(["varying"] if part in self.varying else [])] for part, shape in self._shapes.items()}


NO_FEATURES = FeatureSpec()  # for a language model, which has no encoder


class Features(Mapping[str, Tensor], Movable):
    """The features of B images, from a live encoder or from the feature store.

    ``Features(pooled=…, grid=…)``: a part is ``(B, P)``, one vector per image, or ``(B, L, D)``, one vector per region.

    Attributes:
        lengths: ``(B,)`` integers by the names of parts: the number n of each image's regions, 1 to L, which are the
            first n of the L places; the values in the other places mean nothing. A part without lengths has L regions
            in every image.
    """

    def __init__(self, lengths: Mapping[str, Tensor] | None = None, /, **parts: Tensor) -> None:
        """Take the parts.

        Raises:
            ValueError: a part with lengths is missing or has no regions.
        """
        self.lengths: dict[str, Tensor] = dict(lengths or {})
        self._parts = parts
        for part in self.lengths:
            if part not in parts or parts[part].dim() < 3:
                raise ValueError(f"Features have lengths of {part!r}, which is no part (B, L, D): {', '.join(parts)}")

    @classmethod
    def none(cls, images: int, device: torch.device | str | None = None) -> "Features":
        """Empty features of B images, for a language model."""
        return cls(none=torch.zeros(images, 0, device=device))

    def __getitem__(self, part: str) -> Tensor:
        """One part: ``(B, P)`` or ``(B, L, D)``."""
        return self._parts[part]

    def __iter__(self) -> Iterator[str]:
        """The parts' names."""
        return iter(self._parts)

    def __len__(self) -> int:
        """The number of parts; see ``images``."""
        return len(self._parts)

    @property
    def images(self) -> int:
        """B."""
        return len(next(iter(self._parts.values()))) if self._parts else 0

    @property
    def device(self) -> torch.device:
        """The device of the features."""
        return next(iter(self._parts.values())).device if self._parts else torch.device("cpu")

    def mask(self, part: str) -> Tensor | None:
        """``(B, L)``: True for the regions that an image has; None if every image has all L."""
        if part not in self.lengths:
            return None
        places = torch.arange(self[part].shape[1], device=self.device)
        return places < self.lengths[part].to(self.device).unsqueeze(1)

    def mean(self, part: str) -> Tensor:
        """``(B, D)``: the mean over each image's regions; for a single vector the vector itself, ``(B, P)``."""
        mask = self.mask(part)
        if mask is None:
            return self[part].mean(1) if self[part].dim() > 2 else self[part]
        there = mask.unsqueeze(-1)
        return self[part].masked_fill(~there, 0.0).sum(1) / there.sum(1).clamp_min(1).to(self[part].dtype)

    def each(self, function: Callable[[Tensor], Tensor]) -> Self:
        """See ``Movable.each``: lengths and parts."""
        lengths = {part: function(length) for part, length in self.lengths.items()}
        return type(self)(lengths, **{name: function(part) for name, part in self.items()})

    def to(
        self,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        *,
        non_blocking: bool = False,
    ) -> Self:
        """The same features on another device (see ``Movable.to``), or in another precision."""
        moved = self.each(lambda tensor: tensor.to(device, non_blocking=non_blocking)) if device else self
        return moved if dtype is None else moved.map(lambda part: part.to(dtype))

    def select(self, images: Tensor) -> "Features":
        """The features of some of the images.

        Args:
            images: ``(B',)`` indices, or a mask ``(B,)``.
        """
        lengths = {part: length[images] for part, length in self.lengths.items()}
        return Features(lengths, **{name: part[images] for name, part in self.items()})

    def map(self, function: Callable[[Tensor], Tensor]) -> Self:
        """The features with a function applied to each part; the lengths stay."""
        return type(self)(self.lengths, **{name: function(part) for name, part in self.items()})


def check_part_name(part: str) -> None:
    """Check that the feature store can name a folder after an encoder's part.

    Raises:
        CaptioningError: the name is empty, has over a hundred characters, or has others than letters, digits, ``_`` and
            ``-``.
    """
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,100}", part):
        raise CaptioningError(
            f"{part!r} can't name a part of an encoder's features, since the feature store names a folder after it. "
            "Take letters of ASCII, digits, _ and -, a hundred at the most."
        )
