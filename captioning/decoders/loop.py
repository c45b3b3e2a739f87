"""The loops that compute a recurrent decoder's equations: one word for search, whole captions for training.

A recurrent decoder writes its equations once, on a ``Loop``. ``OneStep`` computes them for one word of every sequence.
``PackedWords`` computes them for all words of packed captions at once, except for terms that depend on the hidden
state.

Dimensions: B images, S sequences of an image, N captions that have words, M words of a packed batch, L regions, D
numbers of a region, G·H numbers of an image's term, C numbers of a cell's state.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor

from captioning.cells import Recurrent
from captioning.core.packing import Packing
from captioning.core.state import State


class Rows(ABC):
    """Rows of words with the images that the words belong to: a whole loop over words, or one time step of a loop."""

    @property
    @abstractmethod
    def parts(self) -> dict[str, Tensor]:
        """``State.image``: the parts by name as they are, ``(B, …)``."""

    @abstractmethod
    def image(self, name: str) -> Tensor:
        """A part of ``State.image``, shaped to broadcast with the rows: ``(B, 1, …)`` or one entry a row."""

    def find_image(self, name: str) -> Tensor | None:
        """A part of ``State.image`` as ``image`` returns it; None if the state has no such part."""
        return self.image(name) if name in self.parts else None

    @abstractmethod
    def by_image(self, rows: Tensor) -> Tensor:
        """Rows grouped by image, ``(B, R, …)`` for at most R rows of an image, and zero where an image has fewer."""

    @abstractmethod
    def rows(self, grouped: Tensor) -> Tensor:
        """The inverse of ``by_image``: ``(B, R, …)`` as rows."""

    def weighted_sum(self, weights: Tensor, name: str) -> Tensor:
        """The sum ``Σ_i α_i a_i`` over the regions of a part of ``State.image``, without a copy per sequence.

        Args:
            weights: the weights α, ``(…, L)``.
            name: the name of the regions a, ``(B, L, D)``.

        Returns:
            ``(…, D)``.
        """
        return self.rows(self.by_image(weights) @ self.parts[name])

    @abstractmethod
    def trace(self, name: str, values: Tensor) -> None:
        """Keep values of each word, for the decoder's own losses and, in search, as a part of the state."""


class Now(Rows):
    """One time step of every sequence that still has a word: ``(B, S, …)`` in search, ``(n, …)`` in training."""


Equations = Callable[..., tuple[Tensor, ...]]


class Loop(Rows):
    """The base class of loops over words: rows are ``(B, S, …)`` in search, ``(M, …)`` in training."""

    @abstractmethod
    def image_first(self, name: str) -> Tensor | None:
        """A part of ``State.image`` for the first word alone; the state after that word has no such part.

        Returns:
            ``(B, 1, …)``, or ``(N, …)`` for the first words of N captions; None after the first word.
        """

    @abstractmethod
    def run(self, name: str, recurrent: Recurrent, x: Tensor, image: Tensor | None = None) -> Tensor:
        """Run recurrent layers whose state is a part of ``State.sequence``, and keep their next state.

        Args:
            name: the name of the part.
            recurrent: the layers.
            x: the inputs as rows ``(…, E)``.
            image: the image's term, ``(…, G·H)``, from ``image`` or ``image_first``.

        Returns:
            The highest layer's hidden states ``(…, H)``.
        """

    @abstractmethod
    def steps(self, equations: Equations, names: str | tuple[str, ...], *inputs: Tensor) -> tuple[Tensor, ...]:
        """Compute equations that depend on the hidden state, one time step after the other.

        Args:
            equations: a function from ``Now``, the parts' values before the word and the word's inputs to the parts'
                values after the word, and any outputs.
            names: the name of a part of ``State.sequence``, or the names of several.
            inputs: the inputs of all words, as rows.

        Returns:
            The outputs, as rows.
        """

    @abstractmethod
    def state(self) -> State:
        """The state after each sequence's last word."""


class OneStep(Loop, Now):
    """The loop for one word of every sequence: rows are ``(B, S, …)``."""

    def __init__(self, state: State) -> None:
        """Take the state before the word."""
        self.before = state
        self.after = State(dict(state.image), dict(state.sequence))

    @property
    def parts(self) -> dict[str, Tensor]:
        """See ``Rows.parts``."""
        return self.before.image

    def image(self, name: str) -> Tensor:
        """See ``Rows.image``: ``(B, 1, …)``."""
        return self.parts[name].unsqueeze(1)

    def image_first(self, name: str) -> Tensor | None:
        """See ``Loop.image_first``: ``(B, 1, …)``."""
        self.after.image.pop(name, None)
        return self.find_image(name)

    def by_image(self, rows: Tensor) -> Tensor:
        """See ``Rows.by_image``: ``(B, S, …)``, as the rows are."""
        return rows

    def rows(self, grouped: Tensor) -> Tensor:
        """See ``Rows.rows``."""
        return grouped

    def run(self, name: str, recurrent: Recurrent, x: Tensor, image: Tensor | None = None) -> Tensor:
        """See ``Loop.run``: ``(B, S, E)`` to ``(B, S, H)``."""
        hidden, self.after.sequence[name] = recurrent.step(x, self.before.sequence[name], image)
        return hidden

    def steps(self, equations: Equations, names: str | tuple[str, ...], *inputs: Tensor) -> tuple[Tensor, ...]:
        """See ``Loop.steps``: one time step."""
        names = _tuple(names)
        values = equations(self, *(self.before.sequence[name] for name in names), *inputs)
        self.after.sequence.update(zip(names, values, strict=False))
        return values[len(names) :]

    def trace(self, name: str, values: Tensor) -> None:
        """See ``Rows.trace``: ``(B, S, …)``."""
        self.after.sequence[name] = values

    def state(self) -> State:
        """The state after the word."""
        return self.after


class PackedWords(Loop):
    """The loop for all words of packed captions: rows are ``(M, …)``.

    Attributes:
        packing: the place of each word.
        traces: the traced values ``(M, …)`` by name, see ``Loop.trace``.
    """

    def __init__(self, state: State, packing: Packing) -> None:
        """Take the state before the first words, of one or of S sequences for each of B images."""
        self.before, self.packing = state, packing
        self.image_after = dict(state.image)
        self.traces: dict[str, Tensor] = {}
        self.ended: dict[str, Tensor] = {}

    @property
    def parts(self) -> dict[str, Tensor]:
        """See ``Rows.parts``."""
        return self.before.image

    def image(self, name: str) -> Tensor:
        """See ``Rows.image``: ``(M, …)``."""
        # not part[row_images], whose gradient is far slower on a CPU
        return self.parts[name].index_select(0, self.packing.row_images)

    def by_image(self, rows: Tensor) -> Tensor:
        """See ``Rows.by_image``: ``(M, …)`` to ``(B, S · T, …)``."""
        return self.packing.unpack(rows).flatten(1, 2)

    def rows(self, grouped: Tensor) -> Tensor:
        """See ``Rows.rows``: ``(B, S · T, …)`` to ``(M, …)``."""
        return self.packing.pack(grouped.view(*self.packing.shape, *grouped.shape[2:]))

    def image_first(self, name: str) -> Tensor | None:
        """See ``Loop.image_first``: ``(N, …)``."""
        part = self.image_after.pop(name, None)
        return None if part is None else part.index_select(0, self.packing.images)

    def run(self, name: str, recurrent: Recurrent, x: Tensor, image: Tensor | None = None) -> Tensor:
        """See ``Loop.run``: ``(M, E)`` to ``(M, H)``; only ``Whh h`` is computed word by word."""
        hidden, self.ended[name] = recurrent.run(x, self.packing.sizes, self.of_captions(name), image)
        return hidden

    def steps(self, equations: Equations, names: str | tuple[str, ...], *inputs: Tensor) -> tuple[Tensor, ...]:
        """See ``Loop.steps``: word by word; captions that have ended drop out."""
        names, now = _tuple(names), _PackedNow(self)
        parts = [self.of_captions(name) for name in names]
        ended: list[list[Tensor]] = [[] for _ in names]
        outputs = []
        for rows in zip(*(torch.split(rows, list(self.packing.sizes)) for rows in inputs), strict=True):
            now.n = len(rows[0])
            if now.n < len(parts[0]):
                for part, values in zip(parts, ended, strict=True):
                    values.append(part[now.n :])
                parts = [part[: now.n] for part in parts]
            results = equations(now, *parts, *rows)
            parts = list(results[: len(names)])
            outputs.append(results[len(names) :])
        for name, part, values in zip(names, parts, ended, strict=True):
            self.ended[name] = torch.cat([part, *reversed(values)])
        self.traces |= {traced: torch.cat(values) for traced, values in now.traces.items()}
        return tuple(torch.cat(values) for values in zip(*outputs, strict=True))

    def trace(self, name: str, values: Tensor) -> None:
        """See ``Rows.trace``: ``(M, …)``."""
        self.traces[name] = values

    def state(self) -> State:
        """The state after each caption's last word, without traced parts; a caption without words keeps its state."""
        B, S, _ = self.packing.shape
        sequence = {}
        for name, part in self.before.sequence.items():
            whole = part.expand(B, S, *part.shape[2:])
            if name in self.ended:
                ended = self.ended[name].to(part.dtype)
                whole = whole.flatten(0, 1).index_copy(0, self.packing.captions, ended).view(whole.shape)
            if name not in self.traces:
                sequence[name] = whole
        return State(self.image_after, sequence)

    def of_captions(self, name: str) -> Tensor:
        """A part of ``State.sequence`` before the first words, ``(N, …)``."""
        part = self.before.sequence[name]
        if part.shape[1] == 1:  # all captions of an image share one state
            return part.squeeze(1).index_select(0, self.packing.images)
        return part.flatten(0, 1).index_select(0, self.packing.captions)


class _PackedNow(Now):
    """One time step of the first n packed captions, which still have a word: ``(n, …)``."""

    def __init__(self, loop: PackedWords) -> None:
        self.loop, self.packing = loop, loop.packing
        self.n = len(loop.packing.captions)
        self.images: dict[str, Tensor] = {}
        self.traces: dict[str, list[Tensor]] = {}

    @property
    def parts(self) -> dict[str, Tensor]:
        return self.loop.parts

    def image(self, name: str) -> Tensor:
        part = self.images.get(name)
        if part is None:
            part = self.parts[name].index_select(0, self.packing.images[: self.n])
        elif len(part) > self.n:
            part = part[: self.n]
        self.images[name] = part
        return part

    def by_image(self, rows: Tensor) -> Tensor:
        B, S, _ = self.packing.shape
        spread = rows.new_zeros(B * S, *rows.shape[1:]).index_copy(0, self.packing.captions[: self.n], rows)
        return spread.view(B, S, *rows.shape[1:])

    def rows(self, grouped: Tensor) -> Tensor:
        return grouped.flatten(0, 1).index_select(0, self.packing.captions[: self.n])

    def trace(self, name: str, values: Tensor) -> None:
        self.traces.setdefault(name, []).append(values)


def _tuple(names: str | tuple[str, ...]) -> tuple[str, ...]:
    return (names,) if isinstance(names, str) else names
