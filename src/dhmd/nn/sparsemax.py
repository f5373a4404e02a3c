"""Sparsemax: the Euclidean projection onto the simplex."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class _Sparsemax(torch.autograd.Function):
    @staticmethod
    def forward(x: Tensor) -> Tensor:
        x = x - x.amax(dim=-1, keepdim=True)  # shift invariant; keeps the cumulative sum small
        ordered = x.sort(dim=-1, descending=True).values
        sums = ordered.cumsum(dim=-1) - 1
        rank = torch.arange(1, x.shape[-1] + 1, device=x.device, dtype=x.dtype)
        size = (rank * ordered > sums).sum(dim=-1, keepdim=True).clamp(min=1)  # 0 for NaN only, which remains NaN
        threshold = sums.gather(-1, size - 1) / size
        return (x - threshold).clamp(min=0)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.save_for_backward(output)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        (out,) = ctx.saved_tensors
        support = out > 0
        inside = torch.where(support, grads[0], 0)
        mean = inside.sum(dim=-1, keepdim=True) / support.sum(dim=-1, keepdim=True)
        return torch.where(support, grads[0] - mean, 0)


def sparsemax(x: Tensor) -> Tensor:
    """Project scores onto the probability simplex, over the last axis.

    Args:
        x: (..., K) finite scores.

    Returns:
        (..., K), non-negative, each row summing to 1, most entries exactly 0.

    Source:
        Martins and Astudillo, "From Softmax to Sparsemax", ICML 2016, algorithm 1.

    Example:
        >>> sparsemax(torch.tensor([[1.0, 0.8, 0.1]]))
        tensor([[0.6000, 0.4000, 0.0000]])
    """
    out: Tensor = _Sparsemax.apply(x)  # type: ignore[no-untyped-call]
    return out
