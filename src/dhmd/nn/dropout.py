"""Dropout whose mask is drawn with ``torch.rand`` on the CPU: torch's own draws with ``bernoulli_``, one sample after the other."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def dropout(x: Tensor, rate: float, training: bool) -> Tensor:
    """Zero each element of x with probability ``rate`` and scale the others by 1 / (1 - rate); x itself when not training."""
    if not training or rate == 0:
        return x
    if x.device.type != "cpu":
        return F.dropout(x, rate)
    keep = torch.rand_like(x, requires_grad=False).ge_(rate).mul_(1 / (1 - rate))
    return x * keep
