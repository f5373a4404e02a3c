"""Packed sequences: the real frames of all samples one after another, without their padding.

Linear layers, norms and dropout then compute real frames only. Attention gets the position of each sample (`Visibility.shifts`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from dhmd.nn.cpu.attention_mask import Masks, Visibility, filled, hull, spans

Move = Callable[[Tensor, Tensor, int], Tensor]

WORTH = 64  # frames of padding a sample from which on packing pays: samples of a batch no longer share blocks of attention
ROUND = 128  # packed lengths are multiples of it, so that kernels made for a length are reused


class Padded:
    """Padded sequences (B, T, ...), left unchanged."""

    def arranged(self, x: Tensor) -> Tensor:
        """Return x unchanged."""
        return x

    def restored(self, x: Tensor) -> Tensor:
        """Return x unchanged."""
        return x

    def last(self, x: Tensor, masks: Masks) -> Tensor:
        """Return the last real frame of each of G sequences x (B, T, G, D): (B, 1, G, D); undefined for a sample without any."""
        if all(mask is None for mask in masks):
            return x[:, -1:]
        return x.gather(1, _last(masks, *x.shape[:2])[:, None, :, None].expand(-1, 1, -1, x.shape[3]))


class Packed:
    """Packed sequences (1, N, ...) of the frames that are real in any of G sequences; N is padded to a multiple of `ROUND`.

    Args:
        masks: masks of the G sequences.
        batch: number of samples B.
        length: number of frames T.
    """

    def __init__(self, masks: Masks, batch: int, length: int) -> None:
        self.shape = batch, length
        real = [spans(mask, batch, length) for mask in masks]
        self._hulls = [hull([each[b] for each in real]) or range(1) for b in range(batch)]
        self.shifts: list[int] = []
        self.count = 0
        for frames in self._hulls:
            self.shifts.append(self.count - frames.start)
            self.count += len(frames)

    @cached_property
    def _places(self) -> Tensor:
        """Index of each kept frame among all (B T) frames."""
        return torch.tensor([b * self.shape[1] + t for b, frames in enumerate(self._hulls) for t in frames])

    @property
    def saved(self) -> int:
        """Number of padded frames that are left out."""
        return self.shape[0] * self.shape[1] - self.count

    def arranged(self, x: Tensor) -> Tensor:
        """Return x (B, T, ...) in packed form."""
        rows = -(-self.count // ROUND) * ROUND
        found: Tensor = _Moved.apply(x.flatten(0, 1), self._places, rows, _taken, _put)  # type: ignore[no-untyped-call]
        return found.unsqueeze(0)

    def restored(self, x: Tensor) -> Tensor:
        """Return packed x as (B, T, ...); 0 for frames that were not computed."""
        rows = self.shape[0] * self.shape[1]
        found: Tensor = _Moved.apply(x.squeeze(0), self._places, rows, _put, _taken)  # type: ignore[no-untyped-call]
        return found.view(*self.shape, *found.shape[1:])

    def last(self, x: Tensor, masks: Masks) -> Tensor:
        """Return the last real frame of each of G sequences x (1, N, G, D): (1, B, G, D); undefined for a sample without any."""
        places = (_last(masks, *self.shape) + torch.tensor(self.shifts).unsqueeze(1)).clamp_(min=0)
        return x.gather(1, places[None, :, :, None].expand(-1, -1, -1, x.shape[3]))


def arrangement(visibility: Visibility, device: torch.device) -> tuple[Visibility, Padded | Packed, Padded | Packed]:
    """Return the better form of queries' and keys' sequences, and the visibility in that form.

    Sequences are packed if much of them is padding and every query has a key.
    """
    padded = visibility, Padded(), Padded()
    if device.type != "cpu" or torch.compiler.is_compiling() or all(m is None for m in (*visibility.queries, *visibility.keys)):
        return padded
    batch, n_q, n_k = visibility.shape
    queries = Packed(visibility.queries, batch, n_q)
    keys = queries if visibility.keys is visibility.queries else Packed(visibility.keys, batch, n_k)
    if sum(x.saved for x in {queries, keys}) < WORTH * batch or visibility.none is not None:
        return padded
    return replace(visibility, shifts=(queries.shifts, keys.shifts)), queries, keys


def _last(masks: Masks, batch: int, length: int) -> Tensor:
    """Return the index of each sample's last real frame, (B, G); 0 for a sample without any."""
    steps = torch.arange(length, device=next((m.device for m in masks if m is not None), None))
    return torch.stack([(mask * steps).amax(dim=1) for mask in filled(masks, batch, length)], dim=1)


class _Moved(torch.autograd.Function):
    """Autograd function that moves rows, and moves their gradients back."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, places: Tensor, count: int, move: Move, back: Move) -> Tensor:
        ctx.places, ctx.rows, ctx.back = places, len(x), back
        return move(x, places, count)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        return ctx.back(gradients[0], ctx.places, ctx.rows), None, None, None, None


def _taken(x: Tensor, places: Tensor, count: int) -> Tensor:
    """Return the rows at these places, followed by rows of 0."""
    found = x.new_zeros(count, *x.shape[1:])
    torch.index_select(x, 0, places, out=found[: len(places)])
    return found


def _put(x: Tensor, places: Tensor, count: int) -> Tensor:
    """Return rows of 0 with the first rows of x at these places."""
    return x.new_zeros(count, *x.shape[1:]).index_copy_(0, places, x[: len(places)])
