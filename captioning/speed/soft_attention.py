"""Soft attention with its gradients written out: the whole loop over words is one node of torch's graph.

Plain torch records each of the thirty small operations of a time step, and several of them add up a gradient as large
as all captions' keys. Here a time step has as few operations as its equations, what depends on no later word is
computed at once, and the attention's perceptron computes in single precision also under autocast: on a CPU its sums
and sigmoids take longer in bfloat16.

With σ_l the sigmoid of region l's key and the query (see ``FastAttention``: e_l = 2 vᵀ σ_l), z = β Σ α_l a_l, δe the
gradient before the softmax, and δa that of the LSTM's gates (see ``speed.lstm``)::

    δz = Wihᵀ δa + δz_out          δα_l = β a_lᵀ δz + δα_out      δ(β before σ) = (Σ α_l a_l)ᵀ δz β (1 - β)
    δq = 2 v Σ_l δe_l σ_l (1 - σ_l)          δkey_l = 2 v Σ_t δe_l σ_l (1 - σ_l)          δv = 2 Σ_t Σ_l δe_l σ_l

Dimensions: B images, S captions of an image, N captions, M words in all, n captions that still have a word, L regions,
D numbers of a region, A hidden units of the attention, H hidden.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from captioning.cells import LSTM
from captioning.core.packing import Packing
from captioning.core.state import State
from captioning.decoders import ShowAttendTell
from captioning.decoders.attention import masked_softmax
from captioning.decoders.loop import Equations, PackedWords
from captioning.speed.attention import FastAttention, weigh
from captioning.speed.linear import gradients_of, linear
from captioning.speed.lstm import activate, factors_of, shifted
from captioning.speed.recurrence import FastRecurrentDecoder


class FastShowAttendTell(FastRecurrentDecoder, ShowAttendTell):
    """Soft attention of one LSTM, whose training on a CPU is one node; every other setting is as it was."""

    def packed_loop(self, state: State, packing: Packing) -> PackedWords:
        """See ``RecurrentDecoder.packed_loop``."""
        cell, attention = self.recurrent.layer(0), self.attention
        known = getattr(type(cell), "plain_class", None) is LSTM and self.depth == 1 and not self.hard
        plain = isinstance(attention, FastAttention) and attention.weigh is weigh  # not compiled
        if known and plain and torch.is_grad_enabled() and packing.rows.device.type == "cpu":
            return _AttendingWords(self, state, packing)
        return super().packed_loop(state, packing)


class _AttendingWords(PackedWords):
    """The loop over words of soft attention."""

    def __init__(self, decoder: ShowAttendTell, state: State, packing: Packing) -> None:
        super().__init__(state, packing)
        self.decoder = decoder

    def steps(self, equations: Equations, names: str | tuple[str, ...], *inputs: Tensor) -> tuple[Tensor, ...]:
        """See ``Loop.steps``: ``ShowAttendTell.time_step`` for all words."""
        decoder, cell, image = self.decoder, self.decoder.recurrent.layer(0), self.parts
        assert cell.Wih is not None
        (terms,), state = inputs, self.of_captions("hidden").squeeze(1)  # (M, 4 H), (N, 2 H)
        weights = cell.Whh.weight, cell.Whh.bias, decoder.attention.query.weight, cell.Wih.weight
        scores = decoder.attention.score.weight, decoder.gate.weight, decoder.gate.bias
        dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else terms.dtype
        tensors = terms, state, image["keys"], image["grid"], image.get("there")
        hidden, z, attention, last = _Words.apply(*tensors, _Places(self.packing, dtype), *weights, *scores)
        self.ended["hidden"], self.traces["attention"] = last.unsqueeze(1), attention
        return hidden, z


class _Places(NamedTuple):
    """The place of each word, and the precision of the products."""

    packing: Packing
    dtype: torch.dtype

    def by_image(self, rows: Tensor) -> Tensor:
        """The rows ``(n, …)`` of one time as ``(B, S, …)``, and zero where a caption has ended."""
        B, S, _ = self.packing.shape
        spread = rows.new_zeros(B * S, *rows.shape[1:]).index_copy_(0, self.packing.captions[: len(rows)], rows)
        return spread.view(B, S, *rows.shape[1:])

    def rows(self, grouped: Tensor, n: int) -> Tensor:
        """The first n captions' rows of ``(B, S, …)``."""
        return grouped.flatten(0, 1).index_select(0, self.packing.captions[:n])


class _Words(torch.autograd.Function):
    """All time steps; returns the hidden states, the contexts z, the attention and the captions' last states."""

    @staticmethod
    def forward(
        ctx: Any,
        terms: Tensor,
        state: Tensor,
        keys: Tensor,
        grid: Tensor,
        there: Tensor | None,
        places: _Places,
        Whh: Tensor,
        bias: Tensor,
        Wq: Tensor,
        Wih: Tensor,
        score: Tensor,
        gate: Tensor,
        gate_bias: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        packing, dtype = places
        (H, A), M, L, D = (Whh.shape[1], len(Wq)), len(terms), *grid.shape[1:]
        ctx.places, ctx.dtypes = places, (terms.dtype, state.dtype, keys.dtype, Whh.dtype)
        of_hidden = torch.cat([Whh, 2 * Wq]).to(dtype)  # (4 H + A, H): gates and query
        biases = torch.cat([bias, bias.new_zeros(A)]).to(dtype)
        Wih, v, state = Wih.to(dtype), 2 * score.t(), state.to(Whh.dtype)
        keys = keys.index_select(0, packing.images).to(Whh.dtype)  # (N, L, A)
        there = None if there is None else there.index_select(0, packing.images)
        gates = terms.to(Whh.dtype, copy=True)
        cells, squashed, hidden = (gates.new_empty(M, H) for _ in range(3))
        seen, attention, betas = gates.new_empty(M, L, A), gates.new_empty(M, L), gates.new_empty(M)
        contexts, z = grid.new_empty(M, D), grid.new_empty(M, D)
        kept = gates, cells, squashed, hidden, seen, attention, betas, contexts, z
        h, c = state.chunk(2, dim=-1)
        ended = []
        for now in zip(*(torch.split(each, list(packing.sizes)) for each in kept), strict=True):
            step, c_after, squashed_c, h_after, sigmoids, weights, beta, context, z_now = now
            n = len(step)
            if n < len(h):
                ended.append(torch.cat([h[n:], c[n:]], dim=-1))
                h, c = h[:n], c[:n]
            both = linear(h.to(dtype), of_hidden, biases)  # (n, 4 H + A)
            torch.add(keys[:n], both[:, 4 * H :].unsqueeze(1), out=sigmoids).sigmoid_()  # (n, L, A)
            e = (sigmoids.view(-1, A) @ v).view(n, L)
            weights.copy_(masked_softmax(e, None if there is None else there[:n]))
            context.copy_(places.rows(places.by_image(weights.to(grid.dtype)) @ grid, n))
            torch.addmv(gate_bias, h, gate[0], out=beta).sigmoid_()
            torch.mul(context, beta.unsqueeze(-1).to(context.dtype), out=z_now)
            step += both[:, : 4 * H]
            step += linear(z_now.to(dtype), Wih)
            i, f, g, o = activate(step, H)
            c = torch.mul(f, c, out=c_after).addcmul_(i, g)
            h = torch.mul(o, torch.tanh(c, out=squashed_c), out=h_after)
        last = torch.cat([torch.cat([h, c], dim=-1), *reversed(ended)])
        ctx.save_for_backward(*kept, state, grid, of_hidden, Wih, score, gate)
        ctx.set_materialize_grads(False)
        return hidden, z, attention, last

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(
        ctx: Any, d_hidden: Tensor | None, d_z: Tensor | None, d_attention: Tensor | None, d_last: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        *kept, state, grid, of_hidden, Wih, score, gate = ctx.saved_tensors
        gates, cells, squashed, hidden, seen, attention, betas, contexts, z = kept
        packing, dtype = ctx.places
        terms_dtype, state_dtype, keys_dtype, weights_dtype = ctx.dtypes
        sizes, (M, L, A), H, v = list(packing.sizes), seen.shape, hidden.shape[-1], 2 * score[0]
        factors, through = factors_of(gates, shifted(cells, state[:, H:], sizes), squashed)
        deltas = gates.new_empty(M, 4 * H + A, dtype=dtype)
        d_contexts, d_betas = torch.empty_like(contexts), torch.empty_like(betas)
        d_keys, d_score = gates.new_zeros(len(state), L, A), gates.new_zeros(A)
        d_last = torch.zeros_like(state) if d_last is None else d_last
        dh, dc = (part.clone(memory_format=torch.contiguous_format) for part in d_last.chunk(2, dim=-1))
        known = factors, through, gates, seen, attention, betas, betas * (1 - betas), contexts
        all_parts = *known, deltas, d_contexts, d_betas
        all_given = d_hidden, d_z, d_attention
        parts = zip(*(torch.split(each, sizes) for each in all_parts), strict=True)
        nothing = [None] * len(sizes)
        given = zip(*(nothing if each is None else torch.split(each, sizes) for each in all_given), strict=True)
        for now, (d_h_out, d_z_out, d_weights_out) in reversed(list(zip(parts, given, strict=True))):
            factor, through_c, step, sigmoids, weights, beta, slope, context, delta, d_context, d_beta = now
            n = len(step)
            dh_now, dc_now, d_gates = dh[:n], dc[:n], delta[:, : 4 * H]
            if d_h_out is not None:
                dh_now += d_h_out
            dc_now.addcmul_(dh_now, through_c)
            torch.mul(factor[:, :3], dc_now.unsqueeze(1), out=d_gates[:, : 3 * H].unflatten(-1, (3, H)))
            torch.mul(factor[:, 3], dh_now, out=d_gates[:, 3 * H :])
            dc_now *= step[:, H : 2 * H]
            d_z_now = linear(d_gates, Wih.t())  # (n, D)
            if d_z_out is not None:
                d_z_now = d_z_now + d_z_out
            torch.sum(d_z_now * context, -1, out=d_beta).mul_(slope)
            torch.mul(d_z_now, beta.unsqueeze(-1).to(d_z_now.dtype), out=d_context)
            d_weights = ctx.places.rows(ctx.places.by_image(d_context) @ grid.transpose(1, 2), n).to(weights.dtype)
            if d_weights_out is not None:
                d_weights += d_weights_out
            de = torch._softmax_backward_data(d_weights, weights, -1, weights.dtype).unsqueeze(1)  # (n, 1, L)
            d_score += torch.bmm(de, sigmoids).sum((0, 1))
            slopes = torch.addcmul(sigmoids, sigmoids, sigmoids, value=-1)  # σ (1 - σ)
            d_keys[:n].addcmul_(slopes, de.transpose(1, 2))
            torch.mul(torch.bmm(de, slopes).squeeze(1), v, out=delta[:, 4 * H :])
            dh_now.copy_(linear(delta, of_hidden.t())).addr_(d_beta, gate[0])
        before = shifted(hidden, state[:, :H], sizes)  # (M, H)
        d_terms, d_queries = (part.contiguous() for part in torch.split(deltas, [4 * H, A], dim=-1))
        Whh, Wq = torch.split(of_hidden, [4 * H, A])
        d_Whh, d_Wih = gradients_of(d_terms, (Whh, before.to(dtype)), (Wih, z.to(dtype)))
        (d_Wq,) = gradients_of(d_queries, (Wq, before.to(dtype)))
        of_images = d_keys.new_zeros(len(grid), L, A).index_add_(0, packing.images, d_keys.mul_(v))
        d_grid = None
        if ctx.needs_input_grad[3]:
            looked, d_looked = (packing.unpack(each).flatten(1, 2) for each in (attention.to(grid.dtype), d_contexts))
            d_grid = looked.transpose(1, 2) @ d_looked
        inputs = d_terms.to(terms_dtype), torch.cat([dh, dc], dim=-1).to(state_dtype), of_images.to(keys_dtype), d_grid
        d_Whh, d_Wq, d_Wih = (each.to(weights_dtype) for each in (d_Whh, 2 * d_Wq, d_Wih))
        weights = d_Whh, d_terms.sum(0, dtype=weights_dtype), d_Wq, d_Wih
        scores = 2 * d_score.unsqueeze(0), (d_betas @ before).unsqueeze(0), d_betas.sum(0, keepdim=True)
        return *inputs, None, None, *weights, *scores
