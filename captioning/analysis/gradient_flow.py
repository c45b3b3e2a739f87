"""The norm of the gradient in back-propagation through time.

Bengio, Simard & Frasconi 1994; Pascanu, Mikolov & Bengio, "On the difficulty of training recurrent neural networks",
ICML 2013, arXiv 1211.5063: the gradient at time t is that at time T times a product of T - t Jacobians, which for
``h' = tanh(Wxh x + Whh h)`` are ``diag(1 - h'²) Whh``. Where the largest singular value of ``Whh`` is below 1 it must
vanish (section 2.1 of the paper); where it is above 1 it may explode.

Dimensions: N sequences, T steps, E input features, H hidden, C a cell's state.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

Array = NDArray[np.float64]

DESCENT = partial(torch.optim.SGD, lr=1.0)


class Recurrent(Protocol):
    """A recurrent network, as in ``captioning.cells.Recurrent``."""

    hidden_size: int

    def initial(self, *shape: int, like: Tensor) -> Tensor:
        """The state before the first step, ``(*shape, depth, C)``."""

    def step(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """A step from ``(N, E)`` and ``(N, depth, C)`` to ``(N, H)`` and ``(N, depth, C)``."""


@dataclass(frozen=True)
class Flow:
    """The norms of a gradient in back-propagation through time.

    Attributes:
        hidden: ``(T + 1, depth)``, the norms of ``∂L/∂h_t`` for each layer, from t = 0 to T; the geometric mean over
            sequences.
        memory: likewise for ``∂L/∂c_t``; None for cells without a memory.
    """

    hidden: Array
    memory: Array | None = None

    @property
    def state(self) -> Array:
        """``(T + 1,)``, the norms for the whole state: all layers, with their memories."""
        parts = [self.hidden] if self.memory is None else [self.hidden, self.memory]
        norms: Array = np.linalg.norm(np.concatenate(parts, axis=1), axis=1)
        return norms

    @property
    def rate(self) -> float:
        """The factor by which a step back multiplies the state's norm, as the geometric mean over all steps."""
        return float((self.state[0] / self.state[-1]) ** (1 / (len(self.state) - 1)))


def measure_flow(recurrent: Recurrent, inputs: Tensor, readout: Tensor | None = None) -> Flow:
    """Back-propagate the gradient of ``L_T = u · h_T`` through time, for a direction u of length 1.

    Args:
        recurrent: the network, whose weights do not change.
        inputs: ``(T, N, E)``, the inputs of the network.
        readout: u, ``(H,)``, or ``(N, H)`` for each sequence; by default drawn from torch's generator.
    """
    N, H = inputs.shape[1], recurrent.hidden_size
    u = torch.randn(N, H).to(inputs) if readout is None else readout
    state = recurrent.initial(N, like=inputs).requires_grad_()
    states = [state]
    for x in inputs:
        _, state = recurrent.step(x, state)
        states.append(state)
    loss = (state[:, -1, :H] * u / u.norm(dim=-1, keepdim=True)).sum()
    gradients = torch.stack(torch.autograd.grad(loss, states)).cpu().double()  # (T + 1, N, depth, C)
    hidden, memory = gradients.tensor_split([H], dim=-1)
    return Flow(_mean_norms(hidden), _mean_norms(memory) if memory.shape[-1] else None)


def _mean_norms(gradients: Tensor) -> Array:
    """The geometric means ``(T + 1, depth)`` over the sequences of norms of ``(T + 1, N, depth, H)``."""
    norms: Array = gradients.norm(dim=-1).clamp_min(1e-300).log().mean(1).exp().numpy()
    return norms


def scale_whh(module: nn.Module, largest: float) -> None:
    """Scale every block of H rows of every ``Whh`` in a module to the same largest singular value.

    Args:
        module: a module of cells.
        largest: the largest singular value.
    """
    with torch.no_grad():
        for name, weight in module.named_parameters():
            if name.endswith("Whh.weight"):
                for block in torch.split(weight, weight.shape[1]):
                    block *= largest / torch.linalg.matrix_norm(block, 2)


@dataclass(frozen=True)
class Training:
    """A short training.

    Attributes:
        losses: the loss of each update.
        norms: the gradient's norm in each update, before clipping.
    """

    losses: list[float]
    norms: list[float]


def train_to_remember(
    recurrent: nn.Module,
    steps: int,
    *,
    updates: int = 150,
    optimizer: Callable[..., torch.optim.Optimizer] = DESCENT,
    clip_norm: float | None = None,
    clip_value: float | None = None,
    seed: int = 0,
) -> Training:
    """Train a network to classify, after T steps of noise, the sign of the first input.

    The loss is the cross-entropy of this one answer, so that the network learns only through T steps of
    back-propagation. An update has 32 sequences. A guess costs 0.69 nats.

    Args:
        recurrent: the network of cells to train, with 1 input feature, see ``Recurrent``.
        steps: T, the number of steps.
        updates: the number of updates.
        optimizer: a function from the weights to the optimizer; plain gradient descent by default.
        clip_norm: the maximum norm to which a gradient is scaled (Pascanu et al., section 3.2).
        clip_value: the maximum absolute value to which each element of the gradient is clipped (Graves 2013, arXiv
            1308.0850).
        seed: the seed of the sequences and the readout.
    """
    network: Recurrent = recurrent  # type: ignore[assignment]
    generator = torch.Generator().manual_seed(seed)
    readout = torch.randn(network.hidden_size, generator=generator).div(network.hidden_size**0.5).requires_grad_()
    weights = [*recurrent.parameters(), readout]
    update = optimizer(weights)
    losses, norms = [], []
    for _ in range(updates):
        signs = torch.randint(0, 2, (32, 1), generator=generator) * 2.0 - 1
        state = network.initial(32, like=signs)
        top, state = network.step(signs, state)
        for _ in range(steps - 1):
            top, state = network.step(0.1 * torch.randn(32, 1, generator=generator), state)
        loss = nn.functional.softplus(-signs.squeeze(1) * (top @ readout)).mean()
        update.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        losses.append(loss.item())
        norms.append(nn.utils.get_total_norm([weight.grad for weight in weights if weight.grad is not None]).item())
        if clip_norm is not None:
            nn.utils.clip_grad_norm_(weights, clip_norm)
        if clip_value is not None:
            nn.utils.clip_grad_value_(weights, clip_value)
        update.step()
    return Training(losses, norms)
