"""Sinusoidal positions of frames, as in the authors' code."""

from __future__ import annotations

import math
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor


def position_vectors(index: Tensor, width: int) -> Tensor:
    """Return sinusoidal positions: sine half, then cosine half, frequencies 10000^(-i / (width / 2 - 1)).

    Args:
        index: (B, T, ...) long, counted from 1; 0 is padding and gets the zero vector.
        width: width D; an odd one is padded with a zero.

    Returns:
        Positions of shape index.shape + (D,).
    """
    if torch.compiler.is_compiling():  # a graph for sequences of any length holds no table
        return _sinusoids(index, width) * (index != 0).unsqueeze(-1)
    rows = 1 << (index.shape[1] + 1).bit_length()  # a power of two above T: few tables for many lengths
    return _position_table(rows, width).to(index.device)[index]


def _sinusoids(index: Tensor, width: int) -> Tensor:
    half = width // 2
    frequency = torch.exp(torch.arange(half, device=index.device) * (-math.log(10000) / max(half - 1, 1)))
    angle = index.unsqueeze(-1) * frequency
    return F.pad(torch.cat([angle.sin(), angle.cos()], dim=-1), (0, width % 2))


@lru_cache(maxsize=64)
def _position_table(rows: int, width: int) -> Tensor:
    table = _sinusoids(torch.arange(rows), width)
    table[0] = 0
    return table
