"""Visibility of keys to the queries of attention, and the tiles in which scores are computed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import cycle
from typing import NamedTuple

import torch
from torch import Tensor

from dhmd.nn.temporal import real_index

TILE = 2**19  # number of scores in a tile

Masks = tuple[Tensor | None, ...]
"""Mask (B, T) bool of each of G sequences, True where a frame is real; None if all are."""


class Tile(NamedTuple):
    """Scores that are computed at once, for some samples' heads, queries and keys; ``seen`` is None if every query sees every key."""

    rows: slice
    queries: slice
    keys: slice
    seen: VisibleKeys | None
    rate: float


class VisibleKeys(NamedTuple):
    """Real keys of each sample (or of all alike), and the offset from a query to the last key that it sees."""

    keys: tuple[range, ...]
    offsets: tuple[int, ...]


@dataclass(frozen=True)
class Visibility:
    """Visibility of keys to queries, for G attentions side by side.

    Attributes:
        queries: masks of the queries' sequences.
        keys: masks of the keys' sequences.
        shape: B, T_q, T_k.
        causal: the query at real index i sees keys up to ``i + |n_q - n_k|``, with n the numbers of real frames.
        shifts: for packed sequences of queries and keys (`dhmd.nn.cpu.packing`), the number to add to a frame of each sample to get
            its position among all frames; rows are then those of (G, heads). None for padded sequences.
    """

    queries: Masks
    keys: Masks
    shape: tuple[int, int, int]
    causal: bool
    shifts: tuple[Sequence[int], Sequence[int]] | None = None

    @cached_property
    def none(self) -> Tensor | None:
        """Mask (B, 1, G, 1) bool of the samples without any key; None if every sample has one."""
        if all(mask is None for mask in self.keys):
            return None
        found = torch.stack([~m.any(dim=1) for m in filled(self.keys, self.shape[0], self.shape[2])], dim=1)[:, None, :, None]
        return found if torch.compiler.is_compiling() or found.device.type != "cpu" or bool(found.any()) else None

    @cached_property
    def visible(self) -> Tensor | None:
        """Mask (1 or G, 1 or B, 1 or T_q, T_k) bool of the visible keys; None if every query sees every key."""
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
    def of_last(self) -> Visibility:
        """Visibility for the last real query of each sample alone, which sees every key."""
        batch, _, n_k = self.shape
        shifts = None if self.shifts is None else (range(batch), self.shifts[1])
        return replace(self, queries=(None,) * len(self.keys), shape=(batch, 1, n_k), causal=False, shifts=shifts)

    def tiles(self, heads: int, rates: tuple[float, ...]) -> list[Tile]:
        """Return the tiles to compute, without those that only padding would see or show.

        Args:
            heads: number of heads of each attention; rows are those of (G, B, heads).
            rates: dropout rates, by group.
        """
        key = heads, rates
        if key not in self._planned:
            self._planned[key] = list(self._plan(*key))
        return self._planned[key]

    @cached_property
    def _planned(self) -> dict[tuple[int, tuple[float, ...]], list[Tile]]:
        return {}

    def _plan(self, heads: int, rates: tuple[float, ...]) -> Iterator[Tile]:
        batch, n_q, n_k = self.shape
        queries = [x for mask in self.queries for x in spans(mask, batch, n_q)]
        keys = [x for mask in self.keys for x in spans(mask, batch, n_k)]
        row: Sequence[int] = range(len(queries))
        if self.shifts:
            queries, keys = (
                [range(x.start + by, x.stop + by) for x, by in zip(each, cycle(shifts))]
                for each, shifts in zip((queries, keys), self.shifts, strict=True)
            )
            row = [i // batch for i in row]  # a group for each sample
        by_sample = [rate for rate in rates for _ in range(batch)]
        begin, last = 0, len(queries)
        for end in range(1, last + 1):
            longer = slice(begin, end + 1)
            large = heads * (end + 1 - begin) * len(hull(queries[longer])) * len(hull(keys[longer])) > TILE
            if end == last or large or by_sample[begin] != by_sample[end] or self.shifts:
                rows = slice(row[begin] * heads, (row[end - 1] + 1) * heads)
                yield from self._cut(rows, by_sample[begin], queries[begin:end], keys[begin:end])
                begin = end

    def _cut(self, rows: slice, rate: float, queries: list[range], keys: list[range]) -> Iterator[Tile]:
        every, all_keys = hull(queries), hull(keys)
        if not every or not all_keys:
            return
        pairs = list(zip(queries, keys, strict=True))
        pairs = pairs[:1] if len(set(pairs)) == 1 else pairs
        # a sample's query at t sees keys up to t + offset
        offsets = tuple(k.start - q.start + abs(len(q) - len(k)) if self.causal else all_keys.stop for q, k in pairs)
        step = max(1, TILE // ((rows.stop - rows.start) * len(all_keys)))
        for t in range(every.start, every.stop, step):
            stop = min(t + step, every.stop)
            seen = min(all_keys.stop, stop + max(offsets))
            if seen > all_keys.start:
                alike = len(pairs) == 1 and seen <= t + offsets[0] + 1
                told = None if alike else VisibleKeys(tuple(k for _, k in pairs), offsets)
                yield Tile(rows, slice(t, stop), slice(all_keys.start, seen), told, rate)


def hull(each: list[range]) -> range:
    """Return the range from the first to the last frame of any of the ranges."""
    found = [x for x in each if x]
    return range(min(x.start for x in found), max(x.stop for x in found)) if found else range(0)


def spans(mask: Tensor | None, batch: int, length: int) -> list[range]:
    """Return the range of each sample's real frames, which are contiguous."""
    if mask is None:
        return [range(length)] * batch
    return [range(first, first + count) for first, count in torch.stack([mask.int().argmax(dim=1), mask.sum(dim=1)], dim=1).tolist()]


def filled(masks: Masks, batch: int, length: int) -> list[Tensor]:
    """Return the masks, with a mask of all real frames in place of None."""
    device = next((m.device for m in masks if m is not None), None)
    return [torch.ones(batch, length, dtype=torch.bool, device=device) if m is None else m for m in masks]
