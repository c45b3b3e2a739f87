"""A stack of cells of any depth.

Dimensions: N sequences, M words in all, E input features, P image features, H hidden, G gates, C numbers of a cell's
state.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from captioning.cells.cell import Cell


class Recurrent(nn.Module):
    """A stack of ``depth`` cells; a cell's input is the hidden state of the cell below; the image enters one cell."""

    def __init__(
        self,
        cell: Callable[..., Cell],
        input_size: int,
        hidden_size: int,
        depth: int = 1,
        image_size: int = 0,
        image_layer: int = 0,
        dropout: float = 0.0,
    ) -> None:
        """Make the layers.

        Args:
            cell: a function from ``input_size``, ``hidden_size`` and ``image_size`` to one cell.
            input_size: E, the number of inputs of the lowest layer.
            hidden_size: H, the number of hidden units of every layer.
            depth: the number of layers.
            image_size: P, the number of inputs of ``Wih``; 0 for no image.
            image_layer: the layer that the image enters through ``Wih``.
            dropout: the fraction of the hidden units between layers (not after the last) that training drops.
        """
        super().__init__()
        self.layers = nn.ModuleList(
            cell(
                input_size=input_size if layer == 0 else hidden_size,
                hidden_size=hidden_size,
                image_size=image_size if layer == image_layer else 0,
            )
            for layer in range(depth)
        )
        self.hidden_size = hidden_size
        self.image_layer = image_layer
        self.dropout = nn.Dropout(dropout)

    @property
    def depth(self) -> int:
        """The number of layers."""
        return len(self.layers)

    def layer(self, index: int) -> Cell:
        """One of the cells."""
        cell = self.layers[index]
        assert isinstance(cell, Cell)
        return cell

    def input(self, x: Tensor) -> Tensor:
        """The lowest layer's term ``Wxh x``: ``(…, E)`` to ``(…, G·H)``."""
        return self.layer(0).input(x)

    def image(self, features: Tensor) -> Tensor:
        """The image's term ``Wih v``: ``(…, P)`` to ``(…, G·H)``, once per image."""
        return self.layer(self.image_layer).image(features)

    def initial(self, *shape: int, like: Tensor) -> Tensor:
        """The state before the first word, zero: ``(*shape, depth, C)``."""
        return self.layer(0).initial(*shape, self.depth, like=like)

    def step(self, x: Tensor, state: Tensor, image: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Run one step of all layers.

        Args:
            x: ``(…, E)``, the inputs.
            state: ``(…, depth, C)``, the states before the step.
            image: the image's term, of a shape that broadcasts to ``(…, G·H)``; None for a step without an image.

        Returns:
            The top layer's hidden state ``(…, H)``, and the next state ``(…, depth, C)``.
        """
        return self.step_terms(self.input(x), state, image)

    def step_terms(self, terms: Tensor, state: Tensor, image: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Run one step of all layers from the lowest layer's ``Wxh x``, ``(…, G·H)``, see ``step``."""
        states: list[Tensor] = []
        for index, below in enumerate(state.unbind(-2)):
            cell = self.layer(index)
            if index > 0:
                terms = cell.input(self.dropout(states[-1][..., : self.hidden_size]))
            if image is not None and index == self.image_layer:
                terms = terms + image
            states.append(cell(terms, below))
        return states[-1][..., : self.hidden_size], torch.stack(states, dim=-2)

    def run(self, x: Tensor, sizes: Sequence[int], state: Tensor, image: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Run all steps of packed sequences, layer by layer, so that each layer's ``Wxh`` is one product.

        Args:
            x: ``(M, E)``, the inputs, time-major (see ``core.packing.Packing``).
            sizes: the number of sequences that still have a word, at each time.
            state: ``(N, depth, C)`` before the first word.
            image: ``(M', G·H)``, the image's term for the first M' words: ``(M, …)`` if the image enters at every step,
                ``(N, …)`` if the image enters at the first step alone.

        Returns:
            The top layer's hidden states ``(M, H)``, and the states ``(N, depth, C)`` after the last words.
        """
        states = []
        for index, before in enumerate(state.unbind(-2)):
            term = image if index == self.image_layer else None
            x, after = self.layer(index).run(x if index == 0 else self.dropout(x), sizes, before, term)
            states.append(after)
        return x, torch.stack(states, dim=-2)
