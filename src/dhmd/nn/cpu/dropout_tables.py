"""Dropout masks that are cheap on a CPU and can be recomputed from their seed instead of being kept.

Torch draws with one serial generator on a CPU, at about the cost of five products of matrices as narrow as attention's. Here two random
tables are made once, each of which keeps the square root of the share that a mask keeps; a mask is the product of both, each read from
an offset determined by the seed. Over seeds, an element is kept with the required probability, and two masks read both tables from the
same offsets only once in 131 072 times.
"""

from __future__ import annotations

import math
import struct
from functools import lru_cache
from math import prod

import torch
from torch import Tensor

BLOCK = 2**18  # words in a table, which therefore stays in the cache


def fresh_seed() -> int:
    """Return a seed for a mask, from torch's generator."""
    return int(torch.randint(2**62, ()))


def dropout_mask(shape: torch.Size | tuple[int, ...], rate: float, seed: int, out: Tensor | None = None) -> Tensor:
    """Return a mask to multiply with: 0 with probability ``rate``, else 1 / (1 - rate); float32, the same for the same seed.

    Args:
        shape: shape of the mask.
        rate: share of elements that are dropped.
        seed: seed of the mask.
        out: int32 memory for at least that many words, of which the mask is then a view.
    """
    count = prod(shape)
    words = torch.empty(count, dtype=torch.int32) if out is None else out[:count]
    one, other = _tables(rate)
    for i, block in enumerate(torch.split(words, BLOCK)):
        x, y = _places(seed + i)
        torch.bitwise_and(one[x : x + len(block)], other[y : y + len(block)], out=block)
    return words.view(torch.float32).view(shape)


@lru_cache(maxsize=16)
def _tables(rate: float) -> tuple[Tensor, Tensor]:
    """Return two tables: the bits of 1 / (1 - rate), and ones, for the same share of words each; twice, for any first word."""
    share = round(math.sqrt(1 - rate) * BLOCK)
    generator = torch.Generator().manual_seed(20_231_117)
    one, other = ((torch.randperm(BLOCK, generator=generator) < share).int().repeat(2) for _ in range(2))
    return one * _bits(1 / (1 - rate)), -other


def _places(seed: int) -> tuple[int, int]:
    """Return the offsets at which to read the tables; neighbouring seeds give unlike offsets (the finaliser of splitmix64)."""
    z = (seed + 0x9E3779B97F4A7C15) % 2**64
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB % 2**64
    z ^= z >> 31
    return z % BLOCK, (z >> 32) % BLOCK


def _bits(value: float) -> int:
    """Return the bits of a float32 as a signed integer."""
    return int(struct.unpack("<i", struct.pack("<f", value))[0])
