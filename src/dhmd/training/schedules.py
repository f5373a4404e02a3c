"""Learning-rate schedules with a warm-up, for steps or epochs."""

from __future__ import annotations

import math
from collections.abc import Callable

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
    return _warmup(optimizer, total, warmup, end, lambda left: left)


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
    return _warmup(optimizer, total, warmup, end, lambda left: (1 - math.cos(math.pi * left)) / 2)


def _warmup(optimizer: Optimizer, total: int, warmup: float, end: float, fall: Callable[[float], float]) -> LambdaLR:
    """Return a schedule that rises linearly, then falls from 1 to ``end`` along ``fall``, a function of the share that is left."""
    if warmup < 0 or not 0 <= end <= 1:
        raise ValueError(f"found warmup={warmup} and end={end}; expected a warmup of 0 or more, and an end from 0 to 1")
    rise = round(warmup * total) if warmup < 1 else int(warmup)
    if rise >= total:
        raise ValueError(f"found a warm-up of {rise} in a training of {total}; expected a shorter one")

    def rate(k: int) -> float:
        if k < rise:
            return (k + 1) / (rise + 1)
        return end + (1 - end) * fall(max(0.0, (total - k) / (total - rise)))

    return LambdaLR(optimizer, rate)
