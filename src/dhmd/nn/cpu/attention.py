"""Tiled attention: the CPU kernel behind `dhmd.nn.attention.attend`.

Scores are computed in tiles of a few samples or queries that stay in the cache, and recomputed in the backward pass. Dropout masks are
recomputed from their seeds, too.
"""

from __future__ import annotations

import math
from functools import lru_cache
from math import prod
from typing import Any

import torch
from torch import Tensor

from dhmd.nn.cpu.attention_mask import Tile, Visibility, VisibleKeys
from dhmd.nn.cpu.dropout_tables import dropout_mask

SAFE = 60.0  # scores up to which powers of two and their sums neither overflow nor vanish
HIDDEN = -1e30  # added to the score of a key that is not seen
LN2 = math.log(2)


class TiledAttention(torch.autograd.Function):
    """Autograd function of `dhmd.nn.attention.attend` that also returns the logarithm of each query's sum of powers."""

    @staticmethod
    def forward(q: Tensor, k: Tensor, v: Tensor, visibility: Visibility, rates: tuple[float, ...], seed: int) -> tuple[Tensor, Tensor]:
        out, log_sum = torch.zeros_like(q), q.new_zeros(*q.shape[:3], 1, q.shape[-1])
        # |q k| <= |q| |k|: if that is small, no maximum is needed
        safe = bool(q.square().sum(3).amax() * k.square().sum(3).amax() <= SAFE**2)
        tiles = visibility.tiles(q.shape[2], rates)
        q, k, v, out_, log_sum_ = (x.flatten(0, 2) for x in (q, k, v, out, log_sum))
        scratch = _Scratch(q, tiles)
        for i, tile in enumerate(tiles):
            rows, queries, keys, _, rate = tile
            weights = _scores(q, k, tile, scratch)
            highest = None if safe else weights.amax(dim=-1, keepdim=True).clamp_(min=HIDDEN / 10)
            weights = (weights if highest is None else weights.sub_(highest)).exp2_()
            total = weights.sum(dim=-1).clamp_(min=torch.finfo(q.dtype).tiny).unsqueeze(1)
            if rate:
                weights.mul_(dropout_mask(weights.shape, rate, _tile_seed(seed, i), out=scratch.words))
            torch.div(torch.bmm(v[rows, :, keys], weights.mT), total, out=out_[rows, :, queries])
            log_sum_[rows, :, queries] = total.log2_() if highest is None else total.log2_().add_(highest.mT)
        return out, log_sum

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
        q, k, v, ctx.visibility, ctx.rates, ctx.seed = inputs
        ctx.mark_non_differentiable(output[1])
        ctx.save_for_backward(q, k, v, *output)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        with torch.autocast("cpu", enabled=False):
            return (*TiledAttention._gradients(ctx, gradients[0].contiguous()), None, None, None)

    @staticmethod
    def _gradients(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the gradients of q, k and v."""
        q, k, v, out, log_sum = ctx.saved_tensors
        tiles, width = ctx.visibility.tiles(q.shape[2], ctx.rates), q.shape[3]
        d_q, d_k, d_v = torch.zeros_like(q), torch.zeros_like(k), torch.zeros_like(v)
        balance = (gradient * out).sum(dim=3, keepdim=True).neg_()
        one = k.new_ones(()).expand(*k.shape[:3], 1, k.shape[-1])
        # an additional channel subtracts the sum from the scores, another the balance from the gradient of the weights
        wide = ((q, -log_sum), (k, one), (v, one), (gradient, balance))
        q, k, v, gradient = (torch.cat(pair, dim=3).flatten(0, 2) for pair in wide)
        d_q_, d_k_, d_v_ = (x.flatten(0, 2) for x in (d_q, d_k, d_v))
        scratch = _Scratch(q, tiles)
        for i, tile in enumerate(tiles):
            rows, queries, keys, _, rate = tile
            weights = used = _scores(q, k, tile, scratch).exp2_()
            of_q, of_k, of_v, of_g = q[rows, :, queries], k[rows, :, keys], v[rows, :, keys], gradient[rows, :, queries]
            d_scores = scratch.of(1, weights.shape)
            if rate:
                torch.bmm(of_g[:, :width].mT, of_v[:, :width], out=d_scores)
                mask = dropout_mask(weights.shape, rate, _tile_seed(ctx.seed, i), out=scratch.words)
                used = torch.mul(weights, mask, out=scratch.of(2, weights.shape))
                d_scores.mul_(used).addcmul_(weights, of_g[:, width:].mT)
            else:
                torch.bmm(of_g.mT, of_v, out=d_scores).mul_(weights)
            d_q_[rows, :, queries] = torch.bmm(of_k[:, :width], d_scores.mT)
            d_k_[rows, :, keys].add_(torch.bmm(of_q[:, :width], d_scores))
            d_v_[rows, :, keys].add_(torch.bmm(of_g[:, :width], used))
        return d_q.mul_(LN2), d_k.mul_(LN2), d_v


def _tile_seed(seed: int, number: int) -> int:
    """Return the seed of a tile's dropout mask, from the seed of the attention and the tile's number."""
    return seed + (number << 24)


class _Scratch:
    """Scratch memory that is reused for one tile after the other, so that it stays in the cache."""

    def __init__(self, like: Tensor, tiles: list[Tile]) -> None:
        spans = ((b.rows, b.queries, b.keys) for b in tiles)
        size = max((prod(x.stop - x.start for x in each) for each in spans), default=0)
        self.arrays, self.words = like.new_empty(3, size), torch.empty(size, dtype=torch.int32)

    def of(self, i: int, shape: torch.Size | tuple[int, ...]) -> Tensor:
        """Return one of three arrays, in this shape."""
        return self.arrays[i, : prod(shape)].view(shape)


def _scores(q: Tensor, k: Tensor, tile: Tile, scratch: _Scratch) -> Tensor:
    """Return the scores (rows, queries, keys) of a tile, from q and k (rows, channels, frames); hidden keys get a very low score."""
    of_q, of_k = q[tile.rows, :, tile.queries].mT, k[tile.rows, :, tile.keys]
    shape = (len(of_q), of_q.shape[1], of_k.shape[2])
    scores = torch.bmm(of_q, of_k, out=scratch.of(0, shape))
    if tile.seen is not None:
        hidden = _hidden(tile.seen, (tile.queries.start, tile.queries.stop), (tile.keys.start, tile.keys.stop))
        scores.view(len(hidden), -1, *shape[1:]).add_(hidden)
    return scores


@lru_cache(maxsize=256)
def _hidden(seen: VisibleKeys, queries: tuple[int, int], keys: tuple[int, int]) -> Tensor:
    """Return the term added to scores, (1 or samples, 1, queries, keys): 0 for visible keys; as large as a tile at most."""
    at_q, at_k = torch.arange(*queries)[:, None], torch.arange(*keys)
    start, stop, offset = torch.tensor([(k.start, k.stop, o) for k, o in zip(*seen, strict=True)]).T[..., None, None]
    visible = (at_k >= start) & (at_k < stop) & (at_k <= at_q + offset)
    return torch.zeros(visible.shape).masked_fill_(~visible, HIDDEN).unsqueeze(1)
