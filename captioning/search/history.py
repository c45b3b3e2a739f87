"""The steps of a search, stored so that no caption is copied before the end.

Dimensions: B images (B' of them still searched at a step), S sequences of an image, N captions, T steps, L regions.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from captioning.core.state import gather
from captioning.core.vocabulary import PAD


class Step(NamedTuple):
    """One step of a search.

    Attributes:
        rows: ``(B',)``, the images still searched.
        tokens: ``(B', S)``, the token of each sequence.
        parents: ``(B', S)``, the sequence of the previous step that each sequence continues.
        attention: ``(B', S_before, L)``, the attention weights of the sequences of the previous step for this step's
            tokens.
    """

    rows: Tensor
    tokens: Tensor
    parents: Tensor
    attention: Tensor | None


class History(list[Step]):
    """The steps of a search; ``trace`` reads the captions backwards, once, after the last step."""

    def trace(self, last: Tensor, slot: Tensor) -> tuple[Tensor, Tensor | None]:
        """Read captions backwards from their last words.

        Args:
            last: ``(B, N)``, the step at which each caption ended; -1 for no caption.
            slot: ``(B, N)``, the sequence of each caption at that step.

        Returns:
            Tokens ``(B, N, T)``, with ``<pad>`` after the last word, and attention ``(B, N, T, L)``, zero at ``<pad>``.
        """
        tokens = last.new_full((*last.shape, len(self)), PAD)
        attention = None
        if self and (first := self[0].attention) is not None:
            attention = first.new_zeros((*tokens.shape, first.shape[-1]))
        slot = slot.clone()
        for t in reversed(range(len(self))):
            step = self[t]
            here = slot[step.rows]  # (B', N)
            said = last[step.rows] >= t
            words = gather(step.tokens, here).masked_fill(~said, PAD)
            parents = gather(step.parents, here)
            tokens[step.rows, :, t] = words
            if attention is not None and step.attention is not None:
                weights = gather(step.attention, parents)  # (B', N, L)
                attention[step.rows, :, t] = weights.masked_fill((words == PAD).unsqueeze(-1), 0.0)
            slot[step.rows] = torch.where(said, parents, here)
        return tokens, attention
