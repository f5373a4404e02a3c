"""Gathering of one global batch from processes that train together, so that loss terms between samples see all of them.

Margins between pairs, moments over the batch, contrastive matching and means over real frames are no sums over processes. Every process
computes the loss of the whole batch from gathered outputs. The gather's backward pass adds what all processes send back, W times the
gradient; DDP then averages over W processes. What remains is the gradient of one process with the global batch.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from dhmd.batch import FeatureBatch
from dhmd.errors import RunError
from dhmd.outputs import Outputs, map_samples

Whole = tuple[Outputs, FeatureBatch]
"""Outputs and batch of all processes."""


class Gathering:
    """Gathering of outputs and batches over processes; with one process, they are returned unchanged.

    In training all processes take equally many steps. In validation some may have one batch more; the others then take part without one.
    """

    def __init__(self) -> None:
        self._empty: Whole | None = None

    def whole(self, outputs: Outputs, batch: FeatureBatch) -> Whole:
        """Return outputs and batch of all processes, in the order of their ranks; their B and padding may differ.

        The batch has no tokens.
        """
        if not _several():
            return outputs, batch
        own = outputs.complete(), replace(batch, tokens=None)
        self._empty = map_samples(own[0], lambda x: x[:0].detach()), map_samples(own[1], lambda x: x[:0])
        return _gathered(own, len(batch), more=True)[0]

    def finish(self) -> None:
        """Take part in gathers that other processes still start; every process calls this once, after its last validation batch.

        Raises:
            RunError: this process had no batch at all.
        """
        if not _several():
            return
        if self._empty is None:
            raise RunError("a process had no validation sample: there are more processes than samples; lower trainer.devices")
        while _gathered(self._empty, 0, more=False)[1]:
            pass


class _AllGather(torch.autograd.Function):
    """Autograd function that gathers tensors (B, F) of all processes and sums the gradients that they send back."""

    @staticmethod
    def forward(ctx: Any, own: Tensor) -> tuple[Tensor, ...]:
        parts = [torch.empty_like(own) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, own.contiguous())
        return tuple(parts)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        together = torch.stack(gradients)
        dist.all_reduce(together)
        return together[dist.get_rank()]


def _several() -> bool:
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def _gathered(own: Whole, size: int, more: bool) -> tuple[Whole, bool]:
    """Return the gathered outputs and batch, and whether any process has ``more``."""
    leaves: list[Tensor] = []
    for part in own:
        map_samples(part, leaves.append)
    times = [x.shape[1] for x in leaves if _timed(x)]
    device = leaves[0].device
    mine = torch.tensor([int(more), size, *times], device=device)
    sizes = [torch.empty_like(mine) for _ in range(dist.get_world_size())]
    dist.all_gather(sizes, mine)
    table = torch.stack(sizes).tolist()
    if not any(row[0] for row in table):
        return own, False
    longest = iter([max(column) for column in zip(*(row[2:] for row in table), strict=True)])
    leaves = [_longer(x, next(longest)) if _timed(x) else x for x in leaves]
    rows = torch.cat([x.reshape(size, _width(x)).float() for x in leaves], dim=1)
    most = max(row[1] for row in table)
    parts: tuple[Tensor, ...] = _AllGather.apply(nn.functional.pad(rows, (0, 0, 0, most - len(rows))))  # type: ignore[no-untyped-call]
    together = torch.cat([part[: row[1]] for part, row in zip(parts, table, strict=True)])
    columns = torch.split(together, [_width(x) for x in leaves], dim=1)
    found = iter([c.reshape(len(together), *x.shape[1:]).to(x.dtype) for c, x in zip(columns, leaves, strict=True)])
    outputs, batch = (map_samples(part, lambda _: next(found)) for part in own)
    return (outputs, batch), True


def _timed(x: Tensor) -> bool:
    """Return whether x has a frame axis: a sequence (B, T, d) or a mask (B, T)."""
    return x.dim() == 3 or x.dtype == torch.bool


def _longer(x: Tensor, length: int) -> Tensor:
    return nn.functional.pad(x, (0, 0) * (x.dim() - 2) + (0, length - x.shape[1]))


def _width(x: Tensor) -> int:
    return int(torch.Size(x.shape[1:]).numel())
