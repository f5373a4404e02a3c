"""Attention of many narrow heads, in memory linear in the number of frames.

On a CPU, scores are made in blocks of a few samples or queries that stay in the cache, and made again in the backward pass; so are the
masks of dropout, from their seeds. Elsewhere torch's fused kernels do the same.
"""

from __future__ import annotations

import math
from functools import lru_cache
from itertools import groupby
from math import prod
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from dhmd.nn.cpu.attention_mask import Block, Seen, Sight
from dhmd.nn.dropout import fresh_seed, kept

SAFE = 60.0  # scores up to which powers of two and their sums neither overflow nor vanish
HIDDEN = -1e30  # added to the score of a key that is not seen
LN2 = math.log(2)


def attend(q: Tensor, k: Tensor, v: Tensor, sight: Sight, rates: tuple[float, ...]) -> Tensor:
    """Powers of two of the products q k, normalised, dropped at each group's rate, times v; 0 for a query that sees no key.

    Args:
        q: (G, B, heads, d, T_q), scaled so that powers of two, not of e, are wanted.
        k: (G, B, heads, d, T_k).
        v: (G, B, heads, d, T_k).
        sight: which keys are seen.
        rates: of dropout, by group.

    Returns:
        (G, B, heads, d, T_q). What queries that are padding get is undefined.
    """
    if q.device.type == "cpu" and not torch.compiler.is_compiling():
        q, k, v = (x.to(torch.promote_types(x.dtype, torch.float32)) for x in (q, k, v))  # what sums of powers need
        with torch.autocast("cpu", enabled=False):
            out: Tensor = _Attention.apply(q, k, v, sight, rates, fresh_seed() if any(rates) else 0)[0]  # type: ignore[no-untyped-call]
        return out
    visible = None if sight.visible is None else sight.visible.to(q.device).expand(*q.shape[:2], -1, -1)
    none = None if visible is None else ~visible.any(dim=-1, keepdim=True)
    seen = None if visible is None or none is None else visible | none  # a row of -inf would give NaN
    parts, begin = [], 0
    for rate, run in groupby(rates):
        groups = slice(begin, begin := begin + len(list(run)))
        mask = None if seen is None else seen[groups].flatten(0, 1).unsqueeze(1)
        q_, k_, v_ = (x[groups].flatten(0, 1).mT for x in (q, k, v))
        parts.append(F.scaled_dot_product_attention(q_, k_, v_, attn_mask=mask, dropout_p=rate, scale=LN2).mT)
    joined = torch.cat(parts).view(q.shape)
    return joined if none is None else torch.where(none[:, :, None].mT, 0, joined)


class _Attention(torch.autograd.Function):
    @staticmethod
    def forward(q: Tensor, k: Tensor, v: Tensor, sight: Sight, rates: tuple[float, ...], seed: int) -> tuple[Tensor, Tensor]:
        out, log_sum = torch.zeros_like(q), q.new_zeros(*q.shape[:3], 1, q.shape[-1])
        # |q k| <= |q| |k|: where that is small, no maximum need be looked for
        safe = bool(q.square().sum(3).amax() * k.square().sum(3).amax() <= SAFE**2)
        blocks = sight.blocks(q.shape[2], rates)
        q, k, v, out_, log_sum_ = (x.flatten(0, 2) for x in (q, k, v, out, log_sum))
        scratch = _Scratch(q, blocks)
        for i, block in enumerate(blocks):
            rows, queries, keys, _, rate = block
            weights = _scores(q, k, block, scratch)
            highest = None if safe else weights.amax(dim=-1, keepdim=True).clamp_(min=HIDDEN / 10)
            weights = (weights if highest is None else weights.sub_(highest)).exp2_()
            total = weights.sum(dim=-1).clamp_(min=torch.finfo(q.dtype).tiny).unsqueeze(1)
            if rate:
                weights.mul_(kept(weights.shape, rate, _of_block(seed, i), out=scratch.words))
            torch.div(torch.bmm(v[rows, :, keys], weights.mT), total, out=out_[rows, :, queries])
            log_sum_[rows, :, queries] = total.log2_() if highest is None else total.log2_().add_(highest.mT)
        return out, log_sum

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
        q, k, v, ctx.sight, ctx.rates, ctx.seed = inputs
        ctx.mark_non_differentiable(output[1])
        ctx.save_for_backward(q, k, v, *output)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        with torch.autocast("cpu", enabled=False):
            return (*_Attention._gradients(ctx, gradients[0].contiguous()), None, None, None)

    @staticmethod
    def _gradients(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Of q, k and v."""
        q, k, v, out, log_sum = ctx.saved_tensors
        blocks, width = ctx.sight.blocks(q.shape[2], ctx.rates), q.shape[3]
        d_q, d_k, d_v = torch.zeros_like(q), torch.zeros_like(k), torch.zeros_like(v)
        balance = (gradient * out).sum(dim=3, keepdim=True).neg_()
        one = k.new_ones(()).expand(*k.shape[:3], 1, k.shape[-1])
        # a further channel takes the sum off the scores, another the balance off the gradient of the weights
        wide = ((q, -log_sum), (k, one), (v, one), (gradient, balance))
        q, k, v, gradient = (torch.cat(pair, dim=3).flatten(0, 2) for pair in wide)
        d_q_, d_k_, d_v_ = (x.flatten(0, 2) for x in (d_q, d_k, d_v))
        scratch = _Scratch(q, blocks)
        for i, block in enumerate(blocks):
            rows, queries, keys, _, rate = block
            weights = used = _scores(q, k, block, scratch).exp2_()
            of_q, of_k, of_v, of_g = q[rows, :, queries], k[rows, :, keys], v[rows, :, keys], gradient[rows, :, queries]
            d_scores = scratch.of(1, weights.shape)
            if rate:
                torch.bmm(of_g[:, :width].mT, of_v[:, :width], out=d_scores)
                mask = kept(weights.shape, rate, _of_block(ctx.seed, i), out=scratch.words)
                used = torch.mul(weights, mask, out=scratch.of(2, weights.shape))
                d_scores.mul_(used).addcmul_(weights, of_g[:, width:].mT)
            else:
                torch.bmm(of_g.mT, of_v, out=d_scores).mul_(weights)
            d_q_[rows, :, queries] = torch.bmm(of_k[:, :width], d_scores.mT)
            d_k_[rows, :, keys].add_(torch.bmm(of_q[:, :width], d_scores))
            d_v_[rows, :, keys].add_(torch.bmm(of_g[:, :width], used))
        return d_q.mul_(LN2), d_k.mul_(LN2), d_v


def _of_block(seed: int, number: int) -> int:
    """Seed of a block's dropout mask, from the seed of the attention and the block's number."""
    return seed + (number << 24)


class _Scratch:
    """Memory that one block after the other is computed in, so that it stays in the cache."""

    def __init__(self, like: Tensor, blocks: list[Block]) -> None:
        spans = ((b.rows, b.queries, b.keys) for b in blocks)
        size = max((prod(x.stop - x.start for x in each) for each in spans), default=0)
        self.arrays, self.words = like.new_empty(3, size), torch.empty(size, dtype=torch.int32)

    def of(self, i: int, shape: torch.Size | tuple[int, ...]) -> Tensor:
        """One of three arrays, in this shape."""
        return self.arrays[i, : prod(shape)].view(shape)


def _scores(q: Tensor, k: Tensor, block: Block, scratch: _Scratch) -> Tensor:
    """Those of a block, from q and k (rows, channels, frames): (rows, queries, keys), a key that is not seen far below all."""
    of_q, of_k = q[block.rows, :, block.queries].mT, k[block.rows, :, block.keys]
    shape = (len(of_q), of_q.shape[1], of_k.shape[2])
    scores = torch.bmm(of_q, of_k, out=scratch.of(0, shape))
    if block.seen is not None:
        hidden = _hidden(block.seen, (block.queries.start, block.queries.stop), (block.keys.start, block.keys.stop))
        scores.view(len(hidden), -1, *shape[1:]).add_(hidden)
    return scores


@lru_cache(maxsize=256)
def _hidden(seen: Seen, queries: tuple[int, int], keys: tuple[int, int]) -> Tensor:
    """What to add to scores, (1 or samples, 1, queries, keys): 0 where a key is seen; never larger than a block's share of a head."""
    at_q, at_k = torch.arange(*queries)[:, None], torch.arange(*keys)
    start, stop, offset = torch.tensor([(k.start, k.stop, o) for k, o in zip(*seen, strict=True)]).T[..., None, None]
    visible = (at_k >= start) & (at_k < stop) & (at_k <= at_q + offset)
    return torch.zeros(visible.shape).masked_fill_(~visible, HIDDEN).unsqueeze(1)
