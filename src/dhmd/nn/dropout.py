"""Dropout with masks that are cheap on a CPU."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from dhmd.nn.cpu.dropout_tables import dropout_mask, fresh_seed


def dropout(x: Tensor, rate: float, training: bool) -> Tensor:
    """Zero each element of x with probability ``rate`` and scale the others by 1 / (1 - rate); x itself when not training."""
    if not training or rate == 0:
        return x
    if x.device.type != "cpu":
        return F.dropout(x, rate)
    return x * dropout_mask(x.shape, rate, fresh_seed()).to(x.dtype)
