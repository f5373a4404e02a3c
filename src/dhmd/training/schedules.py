"""Learning-rate schedules with a warm-up, for steps or epochs."""

from __future__ import annotations

import math

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR


def warmup_linear(optimizer: Optimizer, total: int, warmup: float = 0.1, end: float = 0.0) -> LambdaLR:
    """Return a schedule whose rates rise linearly from near 0, then fall linearly to a share of themselves.

    Args:
        optimizer: optimizer whose rates are scaled.
        total: number of steps (or epochs) of the whole training.
        warmup: length of the rise in steps (or epochs): a number from 1 on, or a share of ``total`` below 1.
        end: share of the initial rates at the end.

    Raises:
        ValueError: ``warmup`` or ``end`` is out of range.
    """
    rise = _rise(total, warmup, end)
    return LambdaLR(optimizer, lambda k: min((k + 1) / (rise + 1), 1.0) if k < rise else _left(k, rise, total) * (1 - end) + end)


def warmup_cosine(optimizer: Optimizer, total: int, warmup: float = 0.1, end: float = 0.0) -> LambdaLR:
    """Return a schedule whose rates rise linearly from near 0, then fall along half a cosine to a share of themselves.

    Source: Loshchilov and Hutter, SGDR, ICLR 2017, without restarts.

    Args:
        optimizer: optimizer whose rates are scaled.
        total: number of steps (or epochs) of the whole training.
        warmup: length of the rise in steps (or epochs): a number from 1 on, or a share of ``total`` below 1.
        end: share of the initial rates at the end.

    Raises:
        ValueError: ``warmup`` or ``end`` is out of range.
    """
    rise = _rise(total, warmup, end)

    def rate(k: int) -> float:
        if k < rise:
            return (k + 1) / (rise + 1)
        return end + (1 - end) * (1 - math.cos(math.pi * _left(k, rise, total))) / 2

    return LambdaLR(optimizer, rate)


def _rise(total: int, warmup: float, end: float) -> int:
    if warmup < 0 or not 0 <= end <= 1:
        raise ValueError(f"found warmup={warmup} and end={end}; expected a warmup of 0 or more, and an end from 0 to 1")
    rise = round(warmup * total) if warmup < 1 else int(warmup)
    if rise >= total:
        raise ValueError(f"found a warm-up of {rise} in a training of {total}; expected a shorter one")
    return rise


def _left(k: int, rise: int, total: int) -> float:
    """Return the share of the decay that is left at step k, from 1 at the end of the rise to 0 at the end of training."""
    return max(0.0, (total - k) / (total - rise))
