"""The steps of a search, stored so that no caption is copied before the end.

Dimensions: B images (B' of them still searched at a step), S sequences of an image, N captions, T steps.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from captioning.core.state import State, gather
from captioning.core.vocabulary import PAD

SHOWN = ("attention", "sentinel")  # parts of a decoder's state for a reader's eye; each is a field of ``Captions``


class Step(NamedTuple):
    """One step of a search.

    Attributes:
        rows: ``(B',)``, the images still searched.
        tokens: ``(B', S)``, the token of each sequence.
        parents: ``(B', S)``, the sequence of the previous step that each sequence continues.
        shown: ``(B', S_before, …)`` by name, the parts ``SHOWN`` of the state of the sequences of the previous step for
            this step's tokens.
    """

    rows: Tensor
    tokens: Tensor
    parents: Tensor
    shown: dict[str, Tensor]


def shown(state: State, attention: bool) -> dict[str, Tensor]:
    """The parts ``SHOWN`` of a state; nothing unless the attention is requested."""
    return {name: part for name, part in state.sequence.items() if name in SHOWN} if attention else {}


class History(list[Step]):
    """The steps of a search; ``trace`` reads the captions backwards, once, after the last step."""

    def trace(self, last: Tensor, slot: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Read captions backwards from their last words.

        Args:
            last: ``(B, N)``, the step at which each caption ended; -1 for no caption.
            slot: ``(B, N)``, the sequence of each caption at that step.

        Returns:
            Tokens ``(B, N, T)``, with ``<pad>`` after the last word, and the shown parts ``(B, N, T, …)``, zero at
            ``<pad>``.
        """
        tokens = last.new_full((*last.shape, len(self)), PAD)
        first = self[0].shown if self else {}
        parts = {name: part.new_zeros((*tokens.shape, *part.shape[2:])) for name, part in first.items()}
        slot = slot.clone()
        for t in reversed(range(len(self))):
            step = self[t]
            here = slot[step.rows]  # (B', N)
            said = last[step.rows] >= t
            words = gather(step.tokens, here).masked_fill(~said, PAD)
            parents = gather(step.parents, here)
            tokens[step.rows, :, t] = words
            for name, part in parts.items():
                values = gather(step.shown[name], parents)  # (B', N, …)
                empty = (words == PAD).view(*words.shape, *[1] * (values.dim() - 2))
                part[step.rows, :, t] = values.masked_fill(empty, 0.0)
            slot[step.rows] = torch.where(said, parents, here)
        return tokens, parts
