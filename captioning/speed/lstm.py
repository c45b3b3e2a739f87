"""An LSTM with its gradients written out: a step, and a whole loop over words, is one node of torch's graph.

Plain torch records each of the dozen small operations of a step and computes the gradient of each by itself. Here the
gradients are written out: what they need of all steps is computed at once, and the loop backwards keeps what depends on
the step after.

With a = [a_i; a_f; a_g; a_o] the gates before their functions, and δ the gradient of what stands behind it::

    δc  = δc' + δh o (1 - tanh² c)
    δa_i = δc g i (1 - i)     δa_f = δc c_prev f (1 - f)     δa_g = δc i (1 - g²)     δa_o = δh tanh(c) o (1 - o)
    δc_prev = δc f            δh_prev = Whhᵀ δa

Dimensions: N sequences, M words in all, n sequences that still have a word, H hidden, C = 2 H numbers of the state.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from captioning.cells import LSTM
from captioning.speed.linear import gradients_of, linear, onednn
from captioning.speed.recurrence import FastCell


class FastLSTM(FastCell, LSTM):
    """An LSTM with its gradients written out; one that runs sequences of one length in oneDNN."""

    def forward(self, terms: Tensor, state: Tensor) -> Tensor:
        """See ``LSTM.forward``."""
        if not torch.is_grad_enabled() or torch.compiler.is_compiling():
            return super().forward(terms, state)
        gates = terms + self.Whh(state[..., : self.hidden_size])
        after: Tensor = _Step.apply(gates, state.expand(*gates.shape[:-1], -1))
        return after

    def run(self, x: Tensor, sizes: Sequence[int], state: Tensor, image: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """See ``Cell.run``: one node of the graph; oneDNN's own LSTM where possible.

        oneDNN's LSTM needs a CPU, single precision, and sequences of one length without an image. In half precision the
        loop is faster; cuDNN's LSTM would round to TF32, and under autocast to float16.
        """
        even = sizes[0] == sizes[-1]
        if image is None and even and onednn(x):
            return self._run_onednn(x, len(sizes), state)
        if not torch.is_grad_enabled() or (self.compiled_steps is not None and even):
            return super().run(x, sizes, state, image)
        device = x.device.type
        dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else self.Whh.weight.dtype
        weights = self.Wxh.weight, self.Wxh.bias, self.Whh.weight, self.Whh.bias
        hidden, last = _Words.apply(x, image, state, *weights, list(sizes), dtype)
        return hidden, last

    def _run_onednn(self, x: Tensor, steps: int, state: Tensor) -> tuple[Tensor, Tensor]:
        h, c = (part.contiguous().unsqueeze(0) for part in state.chunk(2, dim=-1))
        weights = [self.Wxh.weight, self.Whh.weight, self.Wxh.bias, self.Whh.bias]
        inputs, training = x.view(steps, -1, x.shape[-1]), torch.is_grad_enabled()
        hidden, h, c = torch.lstm(inputs, (h, c), weights, True, 1, 0.0, training, False, False)
        return hidden.flatten(0, 1), torch.cat([h[0], c[0]], dim=-1)


def activate(gates: Tensor, H: int) -> tuple[Tensor, ...]:
    """i, f, g and o, ``(n, H)`` each, computed in place of the gates ``(n, 4 H)``; tanh(x) = 2 σ(2x) - 1 is faster."""
    i, f, g, o = gates.chunk(4, dim=-1)
    g *= 2
    gates.sigmoid_()
    g.mul_(2).sub_(1)
    return i, f, g, o


def factors_of(gates: Tensor, cells: Tensor, squashed: Tensor) -> tuple[Tensor, Tensor]:
    """What δc and δh are multiplied with.

    Args:
        gates: ``(M, 4 H)``, i, f, g and o.
        cells: ``(M, H)``, c before the step.
        squashed: ``(M, H)``, tanh(c) after the step.

    Returns:
        The factors ``(M, 4, H)`` that make δa of δc (i, f, g) and of δh (o), and those ``(M, H)`` that make δc of δh.
    """
    M, H = cells.shape
    i, f, g, o = gates.chunk(4, dim=-1)
    factors = cells.new_empty(M, 4, H)
    sigmoid, tanh = torch.ops.aten.sigmoid_backward.grad_input, torch.ops.aten.tanh_backward.grad_input
    sigmoid(g, i, grad_input=factors[:, 0])
    sigmoid(cells, f, grad_input=factors[:, 1])
    tanh(i, g, grad_input=factors[:, 2])
    sigmoid(squashed, o, grad_input=factors[:, 3])
    return factors, torch.ops.aten.tanh_backward(o, squashed)


class _Step(torch.autograd.Function):
    """One step, from the gates ``(…, 4 H)`` before their functions and the state ``(…, 2 H)``."""

    @staticmethod
    def forward(ctx: Any, gates: Tensor, state: Tensor) -> Tensor:
        H = state.shape[-1] // 2
        i, f, g, o = activate(activated := gates.to(state.dtype, copy=True), H)
        after = torch.empty_like(state)
        c = torch.mul(f, state[..., H:], out=after[..., H:]).addcmul_(i, g)
        squashed = c.tanh()
        torch.mul(o, squashed, out=after[..., :H])
        ctx.save_for_backward(activated, state, squashed)
        ctx.dtype = gates.dtype
        return after

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        gates, state, squashed = (each.reshape(-1, each.shape[-1]) for each in ctx.saved_tensors)
        H = squashed.shape[-1]
        dh, dc = gradient.reshape(-1, 2 * H).chunk(2, dim=-1)
        factors, through = factors_of(gates, state[:, H:], squashed)
        dc = torch.addcmul(dc, dh, through)
        factors[:, :3] *= dc.unsqueeze(1)
        factors[:, 3] *= dh
        before = torch.cat([torch.zeros_like(dc), dc * gates[:, H : 2 * H]], dim=-1)
        return factors.view(*gradient.shape[:-1], 4 * H).to(ctx.dtype), before.view_as(gradient)


class _Words(torch.autograd.Function):
    """All steps of packed sequences, see ``Cell.run``: inputs ``(M, E)``, the image's term ``(M', 4 H)`` or None.

    Both biases are added in the product of the inputs. ``dtype`` is that of the products.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        image: Tensor | None,
        state: Tensor,
        Wxh: Tensor,
        input_bias: Tensor,
        Whh: Tensor,
        hidden_bias: Tensor,
        sizes: list[int],
        dtype: torch.dtype,
    ) -> tuple[Tensor, Tensor]:
        H = Whh.shape[1]
        inputs, Wxh, Whh = x.to(dtype), Wxh.to(dtype), Whh.to(dtype)
        gates = linear(inputs, Wxh, (input_bias + hidden_bias).to(dtype)).to(state.dtype)
        if image is not None:
            gates[: len(image)] += image
        cells, squashed, hidden = (gates.new_empty(len(gates), H) for _ in range(3))
        h, c = state.chunk(2, dim=-1)
        ended = []
        parts = (torch.split(each, sizes) for each in (gates, cells, squashed, hidden))
        for step, c_after, squashed_c, h_after in zip(*parts, strict=True):
            if len(step) < len(h):
                ended.append(torch.cat([h[len(step) :], c[len(step) :]], dim=-1))
                h, c = h[: len(step)], c[: len(step)]
            step += linear(h.to(dtype), Whh)
            i, f, g, o = activate(step, H)
            c = torch.mul(f, c, out=c_after).addcmul_(i, g)
            h = torch.mul(o, torch.tanh(c, out=squashed_c), out=h_after)
        last = torch.cat([torch.cat([h, c], dim=-1), *reversed(ended)])
        ctx.save_for_backward(gates, cells, squashed, hidden, state, inputs, Wxh, Whh)
        ctx.sizes, ctx.images = sizes, None if image is None else (len(image), image.dtype)
        ctx.dtypes = x.dtype, input_bias.dtype
        ctx.set_materialize_grads(False)
        return hidden, last

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, d_hidden: Tensor | None, d_last: Tensor | None) -> tuple[Tensor | None, ...]:
        gates, cells, squashed, hidden, state, inputs, Wxh, Whh = ctx.saved_tensors
        sizes, H, (x_dtype, weights_dtype) = ctx.sizes, Whh.shape[1], ctx.dtypes
        needs = ctx.needs_input_grad
        factors, through = factors_of(gates, shifted(cells, state[:, H:], sizes), squashed)
        all_parts = (factors, factors[:, :3], factors[:, 3], through, gates[:, H : 2 * H])
        parts = (torch.split(each, sizes) for each in all_parts)
        all_given = [None] * len(sizes) if d_hidden is None else torch.split(d_hidden, sizes)
        d_last = torch.zeros_like(state) if d_last is None else d_last
        dh, dc = (part.clone(memory_format=torch.contiguous_format) for part in d_last.chunk(2, dim=-1))
        for step, ifg, o, through_c, forget, given in reversed(list(zip(*parts, all_given, strict=True))):
            dh_now, dc_now = dh[: len(step)], dc[: len(step)]
            if given is not None:
                dh_now += given
            dc_now.addcmul_(dh_now, through_c)
            ifg *= dc_now.unsqueeze(1)
            o *= dh_now
            dc_now *= forget
            dh_now.copy_(linear(step.flatten(1).to(Whh.dtype), Whh.t()))
        terms = factors.flatten(1)
        d_terms = terms.to(Whh.dtype)
        d_x = linear(d_terms, Wxh.t()).to(x_dtype) if needs[0] else None
        d_image = terms[: ctx.images[0]].to(ctx.images[1]) if needs[1] else None
        d_state = torch.cat([dh, dc], dim=-1) if needs[2] else None
        d_weights: list[Tensor | None] = [None, None]
        if needs[3] or needs[5]:
            pairs = (Wxh, inputs), (Whh, shifted(hidden, state[:, :H], sizes).to(Whh.dtype))
            d_weights = [each.to(weights_dtype) for each in gradients_of(d_terms, *pairs)]
        d_bias = terms.sum(0, dtype=weights_dtype) if needs[4] or needs[6] else None
        return d_x, d_image, d_state, d_weights[0], d_bias, d_weights[1], d_bias, None, None


def shifted(values: Tensor, first: Tensor, sizes: Sequence[int]) -> Tensor:
    """The values ``(M, H)`` of the time before: ``first`` ``(N, H)``, then those of the sequences that go on."""
    at = [first, *torch.split(values, list(sizes))]
    return torch.cat([rows[:n] for rows, n in zip(at, sizes, strict=False)])
