"""The best captions of a beam search so far.

Dimensions: B images (B' of them still searched), S live beams of an image, N captions of an image.
"""

import torch
from torch import Tensor


class Best:
    """The N best captions of each image so far, as places in the history.

    Attributes:
        scores: ``(B, N)``, best first; ``-inf`` where there is no caption yet.
        last: ``(B, N)``, the step of the last token; -1 where there is no caption yet.
        slot: ``(B, N)``, the beam at that step.
    """

    def __init__(self, batch: int, captions: int, device: torch.device) -> None:
        """Begin without captions."""
        self.scores = torch.full((batch, captions), -torch.inf, device=device)
        self.last = torch.full((batch, captions), -1, device=device)
        self.slot = torch.zeros_like(self.last)

    def worst(self, rows: Tensor) -> Tensor:
        """``(B', 1)``, the scores that further captions of some images must exceed to enter."""
        return self.scores[rows, -1:]

    def offer(self, rows: Tensor, step: int, scores: Tensor, cut: bool = False) -> None:
        """Merge further captions into the N best; among equal scores the earlier caption comes first.

        Args:
            rows: ``(B',)``, the images of the captions.
            step: the step of the captions' last token.
            scores: ``(B', S)``, the scores of the beams at that step; ``-inf`` for a beam that is no caption.
            cut: whether the captions were cut; cut captions rank behind all ended ones, in the order of the beams.
        """
        slot = torch.arange(scores.shape[1], device=scores.device).expand_as(scores)
        scores = torch.cat([self.scores[rows], scores], dim=1)
        last = torch.cat([self.last[rows], torch.full_like(slot, step)], dim=1)
        slot = torch.cat([self.slot[rows], slot], dim=1)
        key = (scores > -torch.inf).float() if cut else scores
        order = key.sort(dim=1, descending=True, stable=True).indices[:, : self.scores.shape[1]]
        self.scores[rows] = scores.gather(1, order)
        self.last[rows] = last.gather(1, order)
        self.slot[rows] = slot.gather(1, order)
