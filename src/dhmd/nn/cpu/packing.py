"""Sequences without their padding: the real frames of one sample behind those of the other.

Linear layers, norms and dropout then compute real frames alone. Attention is told where each sample is (`Visibility.shifts`).
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

WORTH = 64  # frames of padding a sample from which on it is left out: samples of a batch no longer share blocks of attention
ROUND = 128  # packed lengths are multiples of it, so that kernels made for a length serve again


class Padded:
    """Sequences (B, T, ...) as they are."""

    def arranged(self, x: Tensor) -> Tensor:
        """As it is."""
        return x

    def restored(self, x: Tensor) -> Tensor:
        """As it is."""
        return x

    def last(self, x: Tensor, masks: Masks) -> Tensor:
        """The last real frame of each of G sequences x (B, T, G, D): (B, 1, G, D); any where a sample has none."""
        if all(mask is None for mask in masks):
            return x[:, -1:]
        return x.gather(1, _last(masks, *x.shape[:2])[:, None, :, None].expand(-1, 1, -1, x.shape[3]))


class Packed:
    """Sequences (1, N, ...) of the frames that are real in any of G sequences; frames are added for N to be a multiple.

    Args:
        masks: of the G sequences.
        batch: B.
        length: T.
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
        """Of the frames that are kept, among all of (B T)."""
        return torch.tensor([b * self.shape[1] + t for b, frames in enumerate(self._hulls) for t in frames])

    @property
    def saved(self) -> int:
        """Frames of padding that are left out."""
        return self.shape[0] * self.shape[1] - self.count

    def arranged(self, x: Tensor) -> Tensor:
        """From (B, T, ...)."""
        rows = -(-self.count // ROUND) * ROUND
        found: Tensor = _Moved.apply(x.flatten(0, 1), self._places, rows, _taken, _put)  # type: ignore[no-untyped-call]
        return found.unsqueeze(0)

    def restored(self, x: Tensor) -> Tensor:
        """To (B, T, ...); 0 where nothing was computed."""
        rows = self.shape[0] * self.shape[1]
        found: Tensor = _Moved.apply(x.squeeze(0), self._places, rows, _put, _taken)  # type: ignore[no-untyped-call]
        return found.view(*self.shape, *found.shape[1:])

    def last(self, x: Tensor, masks: Masks) -> Tensor:
        """The last real frame of each of G sequences x (1, N, G, D): (1, B, G, D); any where a sample has none."""
        places = (_last(masks, *self.shape) + torch.tensor(self.shifts).unsqueeze(1)).clamp_(min=0)
        return x.gather(1, places[None, :, :, None].expand(-1, -1, -1, x.shape[3]))


def arrangement(visibility: Visibility, device: torch.device) -> tuple[Visibility, Padded | Packed, Padded | Packed]:
    """How queries' and keys' sequences are best held, and who sees what then: packed where much is padding, and every query has a key."""
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
    """Of each sample the last real frame's number, (B, G); 0 where it has none."""
    steps = torch.arange(length, device=next((m.device for m in masks if m is not None), None))
    return torch.stack([(mask * steps).amax(dim=1) for mask in filled(masks, batch, length)], dim=1)


class _Moved(torch.autograd.Function):
    """Rows that are moved, and their gradients moved back."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, places: Tensor, count: int, move: Move, back: Move) -> Tensor:
        ctx.places, ctx.rows, ctx.back = places, len(x), back
        return move(x, places, count)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        return ctx.back(gradients[0], ctx.places, ctx.rows), None, None, None, None


def _taken(x: Tensor, places: Tensor, count: int) -> Tensor:
    """The rows at these places, then rows of 0."""
    found = x.new_zeros(count, *x.shape[1:])
    torch.index_select(x, 0, places, out=found[: len(places)])
    return found


def _put(x: Tensor, places: Tensor, count: int) -> Tensor:
    """The first rows put to these places among rows of 0."""
    return x.new_zeros(count, *x.shape[1:]).index_copy_(0, places, x[: len(places)])
