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
    """Gather tensors (B, ...) of all processes, one after the other; the gradient is the sum of what all processes send back.

    A tensor that the loss does not depend on gets no gradient, rather than one of zeros, so that its parameters are left alone by
    optimizers that decay weights, as they are with one process.
    """

    @staticmethod
    def forward(ctx: Any, sizes: list[int], *own: Tensor) -> tuple[Tensor, ...]:
        ctx.set_materialize_grads(False)
        ctx.sizes = sizes
        rows = torch.cat([x.reshape(len(x), _width(x)).float() for x in own], dim=1)
        rows = nn.functional.pad(rows, (0, 0, 0, max(sizes) - len(rows)))
        parts = [torch.empty_like(rows) for _ in sizes]
        dist.all_gather(parts, rows)
        together = torch.cat([part[:size] for part, size in zip(parts, sizes, strict=True)])
        columns = torch.split(together, [_width(x) for x in own], dim=1)
        found = [c.reshape(len(together), *x.shape[1:]).to(x.dtype).contiguous() for c, x in zip(columns, own, strict=True)]
        ctx.mark_non_differentiable(*(x for x in found if not x.is_floating_point()))
        return tuple(found)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        used = {i: g for i, g in enumerate(gradients) if g is not None and ctx.needs_input_grad[i + 1]}
        found: list[Tensor | None] = [None] * len(gradients)
        if used:  # by the same loss in all processes
            together = torch.cat([g.reshape(len(g), _width(g)).float() for g in used.values()], dim=1)
            dist.all_reduce(together)
            own = torch.split(together, ctx.sizes)[dist.get_rank()]
            columns = torch.split(own, [_width(g) for g in used.values()], dim=1)
            for (i, g), column in zip(used.items(), columns, strict=True):
                found[i] = column.reshape(len(own), *g.shape[1:]).to(g.dtype)
        return None, *found


def _several() -> bool:
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def _gathered(own: Whole, size: int, more: bool) -> tuple[Whole, bool]:
    """Return the gathered outputs and batch, and whether any process has ``more``."""
    leaves: list[Tensor] = []
    for part in own:
        map_samples(part, lambda x: leaves.append(x) or x)  # type: ignore[func-returns-value]
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
    found = iter(_AllGather.apply([row[1] for row in table], *leaves))  # type: ignore[no-untyped-call]
    outputs, batch = (map_samples(part, lambda _: next(found)) for part in own)
    return (outputs, batch), True


def _timed(x: Tensor) -> bool:
    """Return whether x has a frame axis: a sequence (B, T, d) or a mask (B, T)."""
    return x.dim() == 3 or x.dtype == torch.bool


def _longer(x: Tensor, length: int) -> Tensor:
    return nn.functional.pad(x, (0, 0) * (x.dim() - 2) + (0, length - x.shape[1]))


def _width(x: Tensor) -> int:
    return int(torch.Size(x.shape[1:]).numel())
