"""Faster convolutions of an encoder in fine-tuning; its parameters, their names and its features stay the same.

The statistics of a BatchNorm behind a convolution are fixed (see ``captioning.encoders.encoder``), so that
``γ (W x - μ) / σ + β`` is a convolution with ``W γ / σ`` and the bias ``β - μ γ / σ``. Both are computed from the
parameters in each forward pass, with their gradients, in place of passes over the map, which are bound by memory.

oneDNN computes the gradient of a depthwise convolution in bfloat16 in up to five times the time that it takes in single
precision. Under autocast on a CPU, trained depthwise convolutions therefore compute in single precision.
"""

import copy
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from captioning.encoders import Encoder
from captioning.encoders.encoder import alike

DEPTHWISE = 8  # the fewest groups of a convolution that counts as depthwise


def make_convolutions_fast(encoder: Encoder) -> Encoder:
    """Make the convolutions of an encoder fast, in place.

    A BatchNorm that a module lists after a convolution need not follow the convolution in the computation: so the
    encoder encodes one image before and after, and if the features differ, it stays as it was.

    Returns:
        The encoder itself.
    """
    picture = encoder.picture()
    with torch.no_grad():
        before = encoder(picture)
    pairs = [
        (conv, norm)
        for module in encoder.modules()
        for conv, norm in pairwise(module.children())
        if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d) and norm.affine
    ]
    for conv, norm in pairs:
        _override(conv, partial(_folded, copy.copy(conv), norm))
        _override(norm, getattr(norm, "act", nn.Identity()).forward)  # timm's contain an activation
    with torch.no_grad():
        if not alike(encoder(picture), before):
            for module in (each for pair in pairs for each in pair):
                del module.forward
    return encoder


def _override(module: Any, forward: Callable[[Tensor], Tensor]) -> None:
    module.forward = forward


def _folded(plain: nn.Conv2d, norm: nn.BatchNorm2d, maps: Tensor) -> Tensor:
    """A convolution with the BatchNorm behind it; ``plain`` is a copy of the convolution with the same parameters."""
    assert norm.running_mean is not None and norm.running_var is not None
    scale = norm.weight * (norm.running_var + norm.eps).rsqrt()
    bias = norm.bias - norm.running_mean * scale
    if plain.bias is not None:
        bias = bias + plain.bias * scale
    parameters = {"weight": plain.weight * scale.view(-1, 1, 1, 1), "bias": bias}
    single = maps.device.type == "cpu" and torch.is_autocast_enabled("cpu") and _is_trained_depthwise(plain)
    if not single:
        return _call(plain, parameters, maps)
    with torch.autocast("cpu", enabled=False):
        return _call(plain, parameters, maps.float())


def _is_trained_depthwise(conv: nn.Conv2d) -> bool:
    return conv.groups >= DEPTHWISE and torch.is_grad_enabled() and conv.weight.requires_grad


def _call(plain: nn.Conv2d, parameters: dict[str, Tensor], maps: Tensor) -> Tensor:
    result: Tensor = functional_call(plain, parameters, (maps,))
    return result
