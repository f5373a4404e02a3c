"""Attention of many narrow heads, in memory linear in the number of frames.

On a CPU, scores are made in blocks of a few samples or queries that stay in the cache, and made again in the backward pass; so are the
masks of dropout, from their seeds. Elsewhere torch's fused kernels do the same.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import count, groupby, repeat
from math import prod
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from dhmd.nn.dropout import kept
from dhmd.nn.replicas import fresh_seeds
from dhmd.nn.temporal import real_index

BLOCK = 2**19  # scores in a block
SAFE = 60.0  # scores up to which powers of two and their sums neither overflow nor vanish
HIDDEN = -1e30  # added to the score of a key that is not seen
LN2 = math.log(2)

Masks = tuple[Tensor | None, ...]
"""Of each of G sequences (B, T) bool, True where a frame is real; None where all are."""


class Block(NamedTuple):
    """Scores that are made at once: of some samples' heads, for queries and keys; ``seen`` is None where every query sees every key.

    ``draw`` says which replica's they are, and which of its blocks.
    """

    rows: slice
    queries: slice
    keys: slice
    seen: _Seen | None
    rate: float
    draw: tuple[int, int]

    def seed(self, seeds: Sequence[int]) -> int:
        """Of its mask, from those of the replicas."""
        replica, number = self.draw
        return seeds[replica] + (number << 24)


class _Seen(NamedTuple):
    """For samples, or for all alike, the real keys, and the offset from a query to the last key that it sees."""

    keys: tuple[range, ...]
    offsets: tuple[int, ...]


@dataclass(frozen=True)
class Sight:
    """Which keys each query sees, for G attentions side by side.

    Attributes:
        queries: masks of the queries' sequences.
        keys: masks of the keys' sequences.
        shape: B, T_q, T_k.
        causal: the query at real index i sees keys up to ``i + |n_q - n_k|``, with n the numbers of real frames.
    """

    queries: Masks
    keys: Masks
    shape: tuple[int, int, int]
    causal: bool

    @cached_property
    def none(self) -> Tensor | None:
        """Which samples have no key at all, (B, 1, G, 1) bool; None where every one has."""
        if all(mask is None for mask in self.keys):
            return None
        found = torch.stack([~m.any(dim=1) for m in filled(self.keys, self.shape[0], self.shape[2])], dim=1)[:, None, :, None]
        return found if torch.compiler.is_compiling() or found.device.type != "cpu" or bool(found.any()) else None

    @cached_property
    def visible(self) -> Tensor | None:
        """(1 or G, 1 or B, 1 or T_q, T_k) bool; None where every query sees every key."""
        if not self.causal and all(mask is None for mask in self.keys):
            return None
        batch, n_q, n_k = self.shape
        if all(mask is None for mask in (*self.queries, *self.keys)):
            queries, keys = torch.ones(1, 1, n_q, dtype=torch.bool), torch.ones(1, 1, n_k, dtype=torch.bool)
        else:
            keys = torch.stack(filled(self.keys, batch, n_k))
            queries = torch.stack(filled(self.queries, batch, n_q)).to(keys.device)
        if not self.causal:
            return keys.unsqueeze(2)
        reach = (queries.sum(-1) - keys.sum(-1)).abs()[..., None, None]
        at_q, at_k = (real_index(x.flatten(0, 1)).view(x.shape) for x in (queries, keys))
        seen: Tensor = keys.unsqueeze(2) & (at_k.unsqueeze(2) <= at_q.unsqueeze(3) + reach)
        return seen

    @cached_property
    def of_last(self) -> Sight:
        """What the last real query of each sample sees alone: every key."""
        return Sight((None,) * len(self.keys), self.keys, (self.shape[0], 1, self.shape[2]), causal=False)

    def blocks(self, heads: int, rates: tuple[float, ...], replicas: int = 1) -> list[Block]:
        """All that there is to be computed, in blocks, without what padding alone would see or show.

        Args:
            heads: of each attention; rows are those of (G, B, heads).
            rates: of dropout, by group.
            replicas: runs of groups that share no block, so that no replica's masks depend on what runs beside it.
        """
        key = heads, rates, replicas
        if key not in self._planned:
            self._planned[key] = list(self._plan(*key))
        return self._planned[key]

    @cached_property
    def _planned(self) -> dict[tuple[int, tuple[float, ...], int], list[Block]]:
        return {}

    def _plan(self, heads: int, rates: tuple[float, ...], replicas: int) -> Iterator[Block]:
        batch, n_q, n_k = self.shape
        queries = [x for mask in self.queries for x in _spans(mask, batch, n_q)]
        keys = [x for mask in self.keys for x in _spans(mask, batch, n_k)]
        draws = [zip(repeat(replica), count()) for replica in range(replicas)]
        by_sample = [(rate, group * replicas // len(rates)) for group, rate in enumerate(rates) for _ in range(batch)]
        begin, last = 0, len(queries)
        for end in range(1, last + 1):
            longer = slice(begin, end + 1)
            large = heads * (end + 1 - begin) * len(_hull(queries[longer])) * len(_hull(keys[longer])) > BLOCK
            if end == last or large or by_sample[begin] != by_sample[end]:
                rows = slice(begin * heads, end * heads)
                rate, replica = by_sample[begin]
                yield from self._cut(rows, rate, draws[replica], queries[begin:end], keys[begin:end])
                begin = end

    def _cut(self, rows: slice, rate: float, draws: Iterator[tuple[int, int]], queries: list[range], keys: list[range]) -> Iterator[Block]:
        every, all_keys = _hull(queries), _hull(keys)
        if not every or not all_keys:
            return
        pairs = list(zip(queries, keys, strict=True))
        pairs = pairs[:1] if len(set(pairs)) == 1 else pairs
        # a sample's query at t sees keys up to t + offset
        offsets = tuple(k.start - q.start + abs(len(q) - len(k)) if self.causal else all_keys.stop for q, k in pairs)
        step = max(1, BLOCK // ((rows.stop - rows.start) * len(all_keys)))
        for t in range(every.start, every.stop, step):
            stop = min(t + step, every.stop)
            seen = min(all_keys.stop, stop + max(offsets))
            if seen > all_keys.start:
                alike = len(pairs) == 1 and seen <= t + offsets[0] + 1
                told = None if alike else _Seen(tuple(k for _, k in pairs), offsets)
                yield Block(rows, slice(t, stop), slice(all_keys.start, seen), told, rate, next(draws))


@lru_cache(maxsize=256)
def _hidden(seen: _Seen, queries: tuple[int, int], keys: tuple[int, int]) -> Tensor:
    """What to add to scores, (1 or samples, 1, queries, keys): 0 where a key is seen; never larger than a block's share of a head."""
    at_q, at_k = torch.arange(*queries)[:, None], torch.arange(*keys)
    start, stop, offset = torch.tensor([(k.start, k.stop, o) for k, o in zip(*seen, strict=True)]).T[..., None, None]
    visible = (at_k >= start) & (at_k < stop) & (at_k <= at_q + offset)
    return torch.zeros(visible.shape).masked_fill_(~visible, HIDDEN).unsqueeze(1)


def _hull(spans: list[range]) -> range:
    """The frames from the first to the last of any of them."""
    found = [x for x in spans if x]
    return range(min(x.start for x in found), max(x.stop for x in found)) if found else range(0)


def _spans(mask: Tensor | None, batch: int, length: int) -> list[range]:
    """Where each sample's real frames are, which are contiguous."""
    if mask is None:
        return [range(length)] * batch
    return [range(first, first + count) for first, count in torch.stack([mask.int().argmax(dim=1), mask.sum(dim=1)], dim=1).tolist()]


def filled(masks: Masks, batch: int, length: int) -> list[Tensor]:
    """The masks, with all frames real where there is none."""
    device = next((m.device for m in masks if m is not None), None)
    return [torch.ones(batch, length, dtype=torch.bool, device=device) if m is None else m for m in masks]


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
            out: Tensor = _Attention.apply(q, k, v, sight, rates, fresh_seeds() if any(rates) else [0])[0]  # type: ignore[no-untyped-call]
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
    def forward(q: Tensor, k: Tensor, v: Tensor, sight: Sight, rates: tuple[float, ...], seeds: list[int]) -> tuple[Tensor, Tensor]:
        out, log_sum = torch.zeros_like(q), q.new_zeros(*q.shape[:3], 1, q.shape[-1])
        # |q k| <= |q| |k|: where that is small, no maximum need be looked for
        safe = bool(q.square().sum(3).amax() * k.square().sum(3).amax() <= SAFE**2)
        blocks = sight.blocks(q.shape[2], rates, len(seeds))
        q, k, v, out_, log_sum_ = (x.flatten(0, 2) for x in (q, k, v, out, log_sum))
        scratch = _Scratch(q, blocks)
        for block in blocks:
            rows, queries, keys, _, rate, _ = block
            weights = _scores(q, k, block, scratch)
            highest = None if safe else weights.amax(dim=-1, keepdim=True).clamp_(min=HIDDEN / 10)
            weights = (weights if highest is None else weights.sub_(highest)).exp2_()
            total = weights.sum(dim=-1).clamp_(min=torch.finfo(q.dtype).tiny).unsqueeze(1)
            if rate:
                weights.mul_(kept(weights.shape, rate, block.seed(seeds), out=scratch.words))
            torch.div(torch.bmm(v[rows, :, keys], weights.mT), total, out=out_[rows, :, queries])
            log_sum_[rows, :, queries] = total.log2_() if highest is None else total.log2_().add_(highest.mT)
        return out, log_sum

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
        q, k, v, ctx.sight, ctx.rates, ctx.seeds = inputs
        ctx.mark_non_differentiable(output[1])
        ctx.save_for_backward(q, k, v, *output)

    @staticmethod
    @torch.autocast("cpu", enabled=False)  # type: ignore[untyped-decorator]
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, out, log_sum = ctx.saved_tensors
        blocks, width, gradient = ctx.sight.blocks(q.shape[2], ctx.rates, len(ctx.seeds)), q.shape[3], gradients[0].contiguous()
        d_q, d_k, d_v = torch.zeros_like(q), torch.zeros_like(k), torch.zeros_like(v)
        balance = (gradient * out).sum(dim=3, keepdim=True).neg_()
        one = k.new_ones(()).expand(*k.shape[:3], 1, k.shape[-1])
        # a further channel takes the sum off the scores, another the balance off the gradient of the weights
        wide = ((q, -log_sum), (k, one), (v, one), (gradient, balance))
        q, k, v, gradient = (torch.cat(pair, dim=3).flatten(0, 2) for pair in wide)
        d_q_, d_k_, d_v_ = (x.flatten(0, 2) for x in (d_q, d_k, d_v))
        scratch = _Scratch(q, blocks)
        for block in blocks:
            rows, queries, keys, _, rate, _ = block
            weights = used = _scores(q, k, block, scratch).exp2_()
            of_q, of_k, of_v, of_g = q[rows, :, queries], k[rows, :, keys], v[rows, :, keys], gradient[rows, :, queries]
            d_scores = scratch.of(1, weights.shape)
            if rate:
                torch.bmm(of_g[:, :width].mT, of_v[:, :width], out=d_scores)
                mask = kept(weights.shape, rate, block.seed(ctx.seeds), out=scratch.words)
                used = torch.mul(weights, mask, out=scratch.of(2, weights.shape))
                d_scores.mul_(used).addcmul_(weights, of_g[:, width:].mT)
            else:
                torch.bmm(of_g.mT, of_v, out=d_scores).mul_(weights)
            d_q_[rows, :, queries] = torch.bmm(of_k[:, :width], d_scores.mT)
            d_k_[rows, :, keys].add_(torch.bmm(of_q[:, :width], d_scores))
            d_v_[rows, :, keys].add_(torch.bmm(of_g[:, :width], used))
        return d_q.mul_(LN2), d_k.mul_(LN2), d_v, None, None, None


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
